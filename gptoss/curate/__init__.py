"""Which documents of a source are kept: the list of filters, and the task that applies it to one file."""
