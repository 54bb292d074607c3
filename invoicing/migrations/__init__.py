"""Schema history of the invoicing app."""
