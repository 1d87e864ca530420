"""The Prefect flow that builds an assistant: read the documents, train, evaluate."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from prefect import flow, task
from prefect.cache_policies import NO_CACHE

from gptoss.assistant.base import require_trainable
from gptoss.assistant.build import assistant_config, build, dependencies
from gptoss.config.instruct import InstructConfig
from gptoss.config.settings import Settings
from gptoss.finetune.document_facts import Fact, read_facts
from gptoss.tracking.mlflow_run import stage_run


@flow(name="assistant", log_prints=False, validate_parameters=False)
def build_assistant(
    documents: Path, base: Path, target: Path, settings: Settings, epochs: int | None
) -> dict[str, Any]:
    """Build an assistant from a folder of documents. Returns the content of `evaluation.json`: the evaluation of the
    assistant and of its base."""
    require_trainable(base)
    facts = read_documents(documents)
    return train_and_evaluate(facts, base, target, settings, assistant_config(settings, base, epochs))


# Prefect neither caches nor stores results: facts and answers are the company's own texts.
@task(cache_policy=NO_CACHE, persist_result=False)
def read_documents(documents: Path) -> list[Fact]:
    return read_facts(documents)


@task(cache_policy=NO_CACHE, persist_result=False)
def train_and_evaluate(
    facts: list[Fact], base: Path, target: Path, settings: Settings, config: InstructConfig
) -> dict[str, Any]:
    """Build the assistant in one MLflow run. After a kill it continues from its checkpoints, which are removed at the
    end."""
    identity = dependencies(facts, base, config, settings.seed)
    with stage_run("assistant", f"gpt-oss-{settings.name}", identity) as run:
        evaluation = build(facts, base, target, settings, config, run)
        run.log_artifact(target / "evaluation.json")
    shutil.rmtree(run.state, ignore_errors=True)
    return evaluation
