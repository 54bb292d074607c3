"""Wiring: settings, addresses, background workers and the commands that start them; imported by no app."""
