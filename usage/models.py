"""Usage tables; none yet."""
