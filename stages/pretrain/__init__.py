"""Pretraining: FSDP2 x pipeline on one device mesh, float16 with dynamic loss scaling, bit-exact resume."""
