"""Pretrain the model on its shards: `python -m stages.pretrain`.

In: `data/shards`, and from the settings `model`, `pretrain`, `tokenizer`, `seed`; from the cluster file the mesh,
micro-batch and checkpoints. Out: `models/base` (float32 master weights as a stock Hugging Face Llama checkpoint),
`reports/plots/pretrain.csv` and `validation.csv`, checkpoints kept for good in `.runs/kept`. Those of the unfinished
run are in the stage's state folder; the same command after a kill, of one rank or of all, continues from the newest
sound one, on CPUs bit for bit, on GPUs up to the order in which attention sums its gradients. Asked to stop (SIGTERM,
Ctrl-C), it saves first and exits with code 75.

What can go wrong: the global batch does not divide over the mesh (`UserError`, before any process starts, with the
arithmetic); shards that are damaged or made for another vocabulary, or gradients that stay non-finite (`DataError`);
a rank that dies, a full disk, a lost machine (`ClusterError`). A damaged checkpoint is reported and the one before it
is used.

Method: FSDP2 (Zhao et al. 2023) times a pipeline (Narayanan et al. 2021) times tensor parallelism with sequence
parallelism (Korthikanti et al. 2022) on one device mesh, mixed precision with dynamic loss scaling (Micikevicius et
al. 2018), AdamW (Loshchilov and Hutter 2019) or Muon (Jordan et al. 2024).

Started by torchrun or srun this is a rank; otherwise it starts the ranks itself: here, as a Slurm job, or, when it
is started once on each of several nodes, those of its node.
"""

from __future__ import annotations

import os
import shutil
import sys
import time
import uuid

from gptoss.config.cluster import load_cluster
from gptoss.config.settings import Settings
from gptoss.core import paths
from gptoss.core.process import exit_code_of
from gptoss.launch import launcher, monitor, slurm, worker
from gptoss.models.decoder import parameter_count
from gptoss.tables.token_files import TokenSplit
from gptoss.tracking.mlflow_run import StageRun
from gptoss.tracking.runner import Metrics, run_stage
from gptoss.train import metrics_log
from gptoss.train.run_config import PLAN, RunConfig, check_data


def pretrain(settings: Settings, run: StageRun) -> Metrics:
    """Check, train on all ranks, write the curves; the weights were written by rank 0."""
    plan = RunConfig(
        settings=settings,
        cluster=load_cluster(),
        precision=settings.pretrain.precision,
        state=run.state,
        attempt=uuid.uuid4().hex,
    )
    plan.layout  # noqa: B018 - raises when the batch does not divide
    train = TokenSplit.open(paths.SHARDS, "train")
    check_data(settings, train, TokenSplit.open(paths.SHARDS, "validation"))
    started = time.monotonic()
    launcher.launch(plan, run)
    run.metrics({"pretrain_seconds": time.monotonic() - started})
    measured = metrics_log.read(plan.state)
    metrics_log.write_curves(measured, paths.REPORTS / "plots")
    monitor.plot(measured, plan.state / "loss.png")
    run.artifact(plan.state / "loss.png", "plots")
    metrics = {"parameters": parameter_count(settings.model, plan.vocab_size), **metrics_log.summary(measured, train)}
    keep_checkpoints(plan)  # last: a run that has to continue needs them where they are
    return metrics


def keep_checkpoints(plan: RunConfig) -> None:
    """Move the checkpoints that are kept for good out of the state folder, which goes when the stage is done. One that
    an earlier run of the same inputs has left there stays."""
    for path in sorted((plan.state / "checkpoints").glob("step-*")):
        if not path.suffix and plan.cluster.checkpoints.keeps_for_good(int(path.name.removeprefix("step-"))):
            kept = paths.RUNS / "kept" / plan.state.name / path.name
            kept.parent.mkdir(parents=True, exist_ok=True)
            if kept.exists():
                shutil.rmtree(path)
            else:
                path.rename(kept)


if __name__ == "__main__":
    slurm.become_rank()
    if "RANK" in os.environ and (os.environ.get(PLAN) or os.environ["RANK"] != "0"):
        sys.exit(worker.main())
    if os.environ.get(PLAN):
        sys.exit(slurm.run_submitted())
    if code := exit_code_of(launcher.become_agent):
        sys.exit(code)
    run_stage(pretrain, "pretrain")
