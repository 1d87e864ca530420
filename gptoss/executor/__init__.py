"""Run pure functions over files, on one machine or on a Ray cluster. Not part of a stage's code identity."""
