"""What was sold and how it is priced: catalogue, orders, subscriptions, billing rules and the pure pricing core."""
