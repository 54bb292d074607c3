"""Usage files of every kind, with what must become of each in expected.json."""
