"""Documents, record batches, token files and safetensors on disk."""
