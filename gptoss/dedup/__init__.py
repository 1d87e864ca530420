"""Exact and near duplicate documents, repeated passages, and increments to earlier runs."""
