"""Start, follow and end the ranks of a training run. Not part of a stage's code identity.

A crash: `torchrun_agent` or srun reports it. A hang: `watchdog`. `failures` turns the reports into one error.
"""
