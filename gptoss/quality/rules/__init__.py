"""Families of quality rules with published definitions, and the compiled kernels that measure them."""
