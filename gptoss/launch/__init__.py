"""Start, follow and end the ranks of a training run: torchrun, Slurm, watchdog, failures. Changes no result."""
