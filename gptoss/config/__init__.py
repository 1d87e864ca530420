"""Typed configuration: one module per stage for `params.yaml`, the cluster files, the profiles."""
