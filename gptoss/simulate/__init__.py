"""Simulates the memory of one rank of a large mesh on one machine. Not part of a stage's code identity."""
