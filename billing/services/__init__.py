"""The verbs of billing: keep the catalogue, take orders."""
