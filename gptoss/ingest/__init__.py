"""Group raw files into tasks, read them with the reader of their format, repartition the documents."""
