"""Measure a published model: held-out bits per byte, benchmark suites, safety, generations."""
