"""Configuration of the stage `publish`."""

from __future__ import annotations

from pydantic import PositiveInt

from gptoss.config.section import PositiveFloat, Section


class PublishConfig(Section):
    max_shard_bytes: PositiveInt
    max_kl: PositiveFloat
    """Upper bound on KL(FP32 || FP16), in nats per token."""
    gguf: bool = False
    """Also write `gguf/NAME-F16.gguf`, as large as the weights. Llama with byte-level BPE only."""
