"""Run pure functions over files, on the cores of one machine or on a Ray cluster. Not part of a stage's code identity."""
