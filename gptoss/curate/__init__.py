"""Which documents of a source are kept: the filters in their order, and the task that applies them to one file."""
