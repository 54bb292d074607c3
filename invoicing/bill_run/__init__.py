"""The steps of a bill run; `run` owns all control flow, the steps do not know each other."""
