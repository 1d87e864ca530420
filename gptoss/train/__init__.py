"""Pretraining: loop, step, loss scaling, optimizers, schedules, data order, parallelism, checkpoints."""
