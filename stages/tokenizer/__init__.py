"""The `tokenizer` stage: train a lossless tokenizer on a sample of the clean documents."""
