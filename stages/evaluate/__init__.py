"""Measure a published model: held-out bits per byte, benchmark suites, and what it writes."""
