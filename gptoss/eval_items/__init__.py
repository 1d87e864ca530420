"""Benchmark items: suites, where items come from, their frozen form, and their pinned hashes."""
