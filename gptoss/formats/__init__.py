"""Readers of raw formats: one module per format, all with the interface that `records.py` describes."""
