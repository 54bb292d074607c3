"""Years of business in the real database: random orders, runs, posts and cancellations, compared with slow oracles."""
