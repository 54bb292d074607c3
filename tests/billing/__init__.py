"""Tests of billing: what was sold and how it is priced."""
