"""Management commands of the product as a whole."""
