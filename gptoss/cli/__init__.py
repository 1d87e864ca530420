"""The commands a person types, one module each; `__main__` finds them by name.

`add_arguments(parser)` declares the options of the command, `execute(options)` runs it.
"""
