"""Everything that a person types: one module per command, run as `python -m gptoss.cli NAME`."""
