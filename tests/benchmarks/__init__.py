"""Measurements against physical limits and naive loops; `python -m tests.benchmarks [name …]` prints one JSON object a line."""
