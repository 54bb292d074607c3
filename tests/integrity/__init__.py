"""Attacks on the database in plain SQL: what must not happen is refused whoever writes it."""
