"""What a rank of a large cluster would need, found on one machine: see `python -m stages.pretrain.simulate --help`."""
