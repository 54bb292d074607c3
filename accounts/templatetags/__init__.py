"""Template tags and filters of the operator pages."""
