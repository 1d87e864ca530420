"""Take the benchmark items out of the training text."""
