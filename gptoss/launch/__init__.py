"""Start, follow and end the ranks of a training run: torchrun, Slurm, watchdog, failures. Not part of a stage's code identity."""
