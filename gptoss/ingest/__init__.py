"""Group raw files into tasks, read them with the reader of their format, write documents in files of bounded size."""
