"""Train a lossless tokenizer, check it, and encode documents as files of token ids.

`train.py` selects an algorithm (`bpe.py`, `sentencepiece.py`), `folder.py` writes what transformers loads, and
`round_trip.py` and `load_check.py` test it. `splits.py`, `encode.py` and `split_writer.py` make the token files that
`gptoss.tables.token_files` reads.

To add an algorithm: one module with `DESCRIPTION` and `train(texts, vocab_size, special_tokens)`, and one line in
`TOKENIZERS` of `gptoss/config/extensions.py`.
"""
