"""Errors, paths, atomic files, checksums, progress, memory, processes. Not part of a stage's code identity."""
