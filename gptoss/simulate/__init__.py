"""Simulates the memory of one rank of a large mesh on one machine. Changes no result."""
