"""Errors, paths, atomic files, checksums, progress, memory, processes. Changes no result."""
