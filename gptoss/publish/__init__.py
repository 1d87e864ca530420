"""Trained weights to a float16 folder that stock transformers loads, checked by gates.

`weights.py` casts, `configuration_files.py`, `model_card.py` and `gguf_file.py` write what goes with the weights,
`model_outputs.py` runs a model on held-out text, `gates/` holds one check per file.
"""
