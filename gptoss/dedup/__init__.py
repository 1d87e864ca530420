"""Exact, near and substring deduplication over all sources, and against earlier runs."""
