"""The memory of one rank of a large mesh, simulated on one machine. Changes no result."""
