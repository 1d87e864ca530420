"""Configuration of the stage `publish`."""

from __future__ import annotations

from pydantic import PositiveInt

from gptoss.config.section import PositiveFloat, Section


class PublishConfig(Section):
    # The Hub rejects files above 50 GB; smaller ones also resume better when a download breaks.
    max_shard_bytes: PositiveInt
    # The gate compares the published float16 weights with the trained float32 ones on the same text.
    max_kl: PositiveFloat
    """Upper bound on KL(FP32 || FP16), in nats per token."""
    gguf: bool = False
    """Also write `gguf/NAME-F16.gguf`, as large as the weights. Llama with byte-level BPE only."""
