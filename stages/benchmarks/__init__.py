"""Bring the benchmark items here once and freeze them, so that every evaluation reads the same bytes."""
