"""Configuration of the stage `publish`."""

from __future__ import annotations

from pydantic import PositiveInt

from gptoss.config.section import PositiveFloat, Section


class PublishConfig(Section):
    max_shard_bytes: PositiveInt
    max_kl: PositiveFloat
    """Bound on KL(FP32 || FP16), nats a token."""
    gguf: bool = False
    """Write `gguf/NAME-F16.gguf` into the folder too (Llama with byte-level BPE only): as large as the weights."""
