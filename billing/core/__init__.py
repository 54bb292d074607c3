"""The pure pricing core: values in, values out; its doors are `pricing.price` and `grouping.group`."""
