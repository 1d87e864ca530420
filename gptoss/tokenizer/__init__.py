"""Train a lossless tokenizer, test it, and encode documents as token files."""
