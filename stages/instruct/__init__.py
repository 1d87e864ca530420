"""Instruct: teach the published base model to answer in chat format, and to stop."""
