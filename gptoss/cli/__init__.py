"""The commands a person types: one module each, with `add_arguments` and `execute`, which `__main__` finds by name."""
