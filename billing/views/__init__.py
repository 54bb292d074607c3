"""Pages of billing that are more than a record's form: charges, prices, orders."""
