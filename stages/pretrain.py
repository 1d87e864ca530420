"""Pretrain the model on its shards.

In: `data/shards`; from the settings `model`, `pretrain`, `tokenizer`, `seed`; from the cluster file the mesh, the
micro-batch and the checkpoints. On several nodes the ranks are started by `gptoss.launch.node` or `.external`.
Out: `models/base` (float32 weights as a stock Hugging Face checkpoint), `reports/plots/pretrain.csv` and
`validation.csv`, permanent checkpoints in `.runs/kept`. The same command after a kill, of one rank or of all, resumes
from the newest intact checkpoint: on CPUs bit-exact, on GPUs up to the order in which attention sums its gradients.

Errors: the global batch does not divide over the mesh (`UserError`, before any process starts, with the arithmetic);
shards that are damaged or made for another vocabulary, gradients that stay non-finite (`DataError`); a dead rank, a
full disk, a lost machine (`ClusterError`); a stop request (`Preempted`, exit code 75, after saving).

References: FSDP2 (Zhao et al. 2023), pipelines (Narayanan et al. 2021), sequence parallelism (Korthikanti et al. 2022),
loss scaling (Micikevicius et al. 2018), AdamW (Loshchilov and Hutter 2019), Muon (Jordan et al. 2024).
"""

from __future__ import annotations

import time

from gptoss.config.settings import Settings
from gptoss.core import paths
from gptoss.launch import monitor
from gptoss.launch.archive import archive_checkpoints
from gptoss.launch.launcher import launch
from gptoss.tables.token_files import TokenSplit
from gptoss.tracking.mlflow_run import StageRun
from gptoss.tracking.runner import Metrics, run_stage
from gptoss.train import metrics_log
from gptoss.train.run_config import RunConfig, check_shards


def pretrain(settings: Settings, run: StageRun) -> Metrics:
    """Check, train on all ranks (rank 0 writes the weights), write the curves; returns the metrics."""
    from gptoss.models.decoder import parameter_count  # imports torch

    run_config = RunConfig.create(settings, run.state)
    train, validation = (TokenSplit.open(paths.SHARDS, split) for split in ("train", "validation"))
    check_shards(settings, train, validation)

    started = time.monotonic()
    launch(run_config, run)
    run.log_metrics({"pretrain_seconds": time.monotonic() - started})

    rows = metrics_log.read(run_config.state)
    metrics_log.write_curves(rows, paths.REPORTS / "plots")
    monitor.log_plot(rows, run)
    parameters = parameter_count(settings.model, run_config.vocab_size)
    metrics = {"parameters": parameters, **metrics_log.summary(rows, train)}
    archive_checkpoints(run_config)  # last: a run that still has to resume needs them in its state folder
    return metrics


if __name__ == "__main__":
    run_stage(pretrain, "pretrain")
