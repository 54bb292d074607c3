"""Forms of billing: charges with prices, and orders."""
