"""Loops over every byte, word or shingle, compiled by Numba. Integers only, so the results are the same everywhere.

Import these modules inside functions: importing Numba takes a third of a second. Kernels check no arguments; their
callers guarantee types, sizes and offsets in range. Each kernel has a plain-Python reference in tests/text/kernels.
"""
