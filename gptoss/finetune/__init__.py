"""Supervised and preference fine-tuning of the published base model into Instruct."""
