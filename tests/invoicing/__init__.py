"""Tests of the invoicing app."""
