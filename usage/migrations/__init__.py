"""Schema history of the usage app."""
