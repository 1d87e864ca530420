"""Typed `params.yaml`: everything that changes the result, and nothing else.

Each section is in the module of its stage; this one composes them and checks what concerns several sections. Where a
run executes (nodes, mesh, micro-batch) is in `infra/clusters/*.yaml` (`gptoss/config/cluster.py`). An unknown key, a
wrong type or an impossible combination is a `UserError` that names key, value and fix, raised before any work.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field, model_validator

from gptoss.config.benchmarks import BenchmarksConfig
from gptoss.config.curate import CurateConfig
from gptoss.config.decontaminate import DecontaminateConfig
from gptoss.config.dedup import DedupConfig
from gptoss.config.evaluate import EvaluateConfig
from gptoss.config.ingest import IngestConfig
from gptoss.config.instruct import InstructConfig
from gptoss.config.model import ModelConfig
from gptoss.config.pretrain import PretrainConfig
from gptoss.config.publish import PublishConfig
from gptoss.config.register import RegisterConfig
from gptoss.config.section import Section
from gptoss.config.shards import ShardsConfig
from gptoss.config.source import Sources
from gptoss.config.tokenizer import FIM_TOKENS, TokenizerConfig
from gptoss.config.yaml_sections import check, load_yaml

PARAMS = Path("params.yaml")
# NumPy's legacy seeding, which transformers' `set_seed` uses, accepts no more.
MAX_UINT32 = 2**32 - 1


class Settings(Section):
    """All of `params.yaml`."""

    # It becomes a folder name, part of the MLflow experiment, and the name of the registered model.
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    seed: Annotated[int, Field(ge=0, le=MAX_UINT32)]
    sources: Sources
    ingest: IngestConfig
    curate: CurateConfig
    dedup: DedupConfig
    benchmarks: BenchmarksConfig
    decontaminate: DecontaminateConfig
    tokenizer: TokenizerConfig
    shards: ShardsConfig
    model: ModelConfig
    pretrain: PretrainConfig
    instruct: InstructConfig
    publish: PublishConfig
    evaluate: EvaluateConfig
    register_: RegisterConfig = Field(alias="register")  # BaseModel has a method `register` (from ABCMeta)

    @model_validator(mode="after")
    def _check_sections_together(self) -> Settings:
        # Divisibility over the mesh is checked in gptoss/train/run_config.py: it depends on the cluster file.
        if self.pretrain.batch_tokens % self.model.context:
            raise ValueError(
                f"pretrain.batch_tokens({self.pretrain.batch_tokens}) / model.context({self.model.context}) = "
                f"{self.pretrain.batch_tokens / self.model.context:g} sequences: make it a multiple of model.context"
            )
        for key, mixture in self.pretrain.mixtures.items():
            if unknown := sorted(mixture.keys() - self.sources.keys()):
                raise ValueError(
                    f"pretrain.{key} names {', '.join(unknown)}: the sources are {', '.join(self.sources)}"
                )
        # Without the three marker tokens the objective would have to spell them as text, which costs context.
        missing = set(FIM_TOKENS) - set(self.tokenizer.special_ids)
        if self.pretrain.objective == "fill_in_the_middle" and missing:
            raise ValueError(
                "pretrain.objective is fill_in_the_middle, but the tokenizer has no "
                f"{', '.join(sorted(missing))}: add them to tokenizer.extra_tokens"
            )
        # RoPE positions beyond the pretraining context were never trained.
        if self.instruct.max_length > self.model.context:
            raise ValueError(
                f"instruct.max_length({self.instruct.max_length}) exceeds model.context({self.model.context})"
            )
        if "gpt4" in self.evaluate.suites and self.benchmarks.gpt4 == "none":
            raise ValueError(
                "evaluate.suites contains gpt4 but benchmarks.gpt4 is none: "
                "set benchmarks.gpt4 to hub, mirror or packages"
            )
        return self


def load_settings(path: Path = PARAMS) -> Settings:
    """Read and check `params.yaml`. Raises `UserError`."""
    return check(Settings, load_yaml(path), origin=str(path))
