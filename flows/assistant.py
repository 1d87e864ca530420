"""The Prefect flow that builds an assistant: read the documents, teach, ask."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from prefect import flow, task
from prefect.cache_policies import NO_CACHE

from gptoss.assistant.base import require_teachable
from gptoss.assistant.build import build, dependencies, instruct_settings
from gptoss.config.instruct import InstructConfig
from gptoss.config.settings import Settings
from gptoss.finetune.knowledge import Fact, read_facts
from gptoss.tracking.mlflow_run import stage_run

MAX_ANSWER_CHARACTERS = 600


@flow(name="assistant", log_prints=False, validate_parameters=False)
def build_assistant(documents: Path, base: Path, target: Path, settings: Settings, epochs: int | None) -> Any:
    """Returns the evaluation of the assistant and of its base, as `evaluation.json` has it."""
    require_teachable(base)
    facts = read_documents(documents)
    return teach_and_ask(facts, base, target, settings, instruct_settings(settings, base, epochs))


@task(cache_policy=NO_CACHE, persist_result=False)
def read_documents(documents: Path) -> list[Fact]:
    """What the documents say."""
    return read_facts(documents, MAX_ANSWER_CHARACTERS)


@task(cache_policy=NO_CACHE, persist_result=False)
def teach_and_ask(facts: list[Fact], base: Path, target: Path, settings: Settings, options: InstructConfig) -> Any:
    """One MLflow run; a killed one is continued, and what it would continue from is removed at the end."""
    identity = dependencies(facts, base, options, settings)
    with stage_run("assistant", f"gpt-oss-{settings.name}", identity) as run:
        evaluation = build(facts, base, target, settings, options, run)
        run.artifact(target / "evaluation.json")
    shutil.rmtree(run.state, ignore_errors=True)
    return evaluation
