"""What was consumed: usage records and their rating."""
