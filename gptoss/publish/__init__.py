"""Trained weights to a float16 folder that stock transformers loads, behind gates."""
