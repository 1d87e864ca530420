"""The stage as a person runs it: killed, with damaged checkpoints or shards, started by another launcher."""

from __future__ import annotations

import json
import math
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from gptoss.config.settings import Settings
from gptoss.core.errors import ClusterError, DataError, Preempted
from gptoss.core.paths import RUNS
from gptoss.launch.archive import archive_checkpoints
from gptoss.train.checkpoint import find_damage
from gptoss.train.run_config import RunConfig
from stages.pretrain import pretrain
from tests.launch.stage_process import RUN, checkpoints, finished, kill, outputs, start, training_rows, wait_for
from tests.training_runs import VOCABULARY, cluster, free_port, rank_environment


@pytest.mark.slow
def test_a_killed_run_gives_the_bytes_of_an_uninterrupted_one(checkout: Callable[..., Path]) -> None:
    """Killed during a step, newest checkpoint damaged, killed again in a save: weights and curves are the same bytes,
    and stock Llama loads them."""
    on = cluster(pp=2, shard=2, checkpoints={"every_steps": 5, "keep": 2})
    checkout(on, **{"pretrain.steps": 60, "pretrain.loss_scale.growth_interval": 7})
    out, err = start().communicate()
    expected = outputs()
    assert len(expected) == 4, err
    RUN.state.rename("uninterrupted")

    process = start()
    wait_for(lambda: len(finished()) >= 2, process)
    kill(process)
    left = finished()
    damaged = next((RUN.state / "checkpoints" / left[-1]).glob("__3_*"))
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"?")

    process = start()
    wait_for(lambda: any(n > f"step-{25:08d}" and n.endswith(".partial") for n in checkpoints()), process)
    kill(process)
    log = (RUN.state / "ranks.log").read_text()
    assert f"{left[-1]} is damaged" in log and damaged.name in log

    resumed_out, err = start().communicate()
    assert outputs() == expected
    assert resumed_out == out
    assert "resumed after step" in err
    assert finished() == sorted(path.name for path in Path("uninterrupted/checkpoints").iterdir())
    assert f"{left[-1]}.damaged" in checkpoints()
    assert_llama_loads_it()


def assert_llama_loads_it() -> None:
    import torch
    from safetensors.torch import load_file
    from transformers import AutoModelForCausalLM

    from gptoss.config.settings import load_settings
    from gptoss.models.decoder import Decoder

    llama = AutoModelForCausalLM.from_pretrained("models/base")
    assert llama.dtype == torch.float32 and type(llama).__name__ == "LlamaForCausalLM"
    config = load_settings().model
    native = Decoder(config, VOCABULARY, range(config.layers))
    native.load_state_dict(load_file("models/base/model.safetensors"), strict=True)
    tokens = torch.arange(config.context).unsqueeze(0)
    assert torch.equal(llama(tokens).logits, native(tokens))


@pytest.mark.slow
def test_another_launcher_gives_the_same_model(checkout: Callable[..., Path]) -> None:
    """torchrun by us, then the ranks one by one as srun would start them; and a second mesh resumes from the first."""
    checkout(cluster(pp=2, checkpoints={"every_steps": 4, "keep": 2}))
    first_out, _ = start().communicate()
    expected = outputs()
    assert len(expected) == 4
    RUN.state.rename("finished")
    checkout(cluster(pp=2, launcher="external"))
    port = free_port()
    environments = [rank_environment(rank, 2, port) for rank in range(2)]
    second = subprocess.Popen([sys.executable, "-m", "gptoss.launch.external"], env=environments[1])
    _, err = start(**{key: environments[0][key] for key in ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")}
    ).communicate()  # fmt: skip
    assert second.wait() == 0, err
    assert outputs() == expected

    shutil.rmtree(RUN.state)
    Path("finished").rename(RUN.state)
    shutil.rmtree(RUN.state / "checkpoints" / checkpoints()[-1])
    checkout(cluster())
    out, err = start().communicate()
    assert "resumed after step 4" in err
    first, resharded = json.loads(first_out), json.loads(out)
    assert resharded["steps"] == first["steps"] == 6
    assert math.isclose(resharded["validation_loss"], first["validation_loss"], rel_tol=1e-3)


@pytest.mark.slow
def test_a_curriculum_with_muon_resumes_to_the_same_bytes_and_counts_what_it_read(
    checkout: Callable[..., Path],
) -> None:
    """The last checkpoint lost, in the second phase: weights, curves and metrics are the same bytes. The tokens of each
    source in the metrics and in the manifest are those of the windows."""
    changes = {
        "pretrain.optimizer": "muon", "pretrain.schedule": "wsd", "pretrain.decay_fraction": 0.5, "pretrain.steps": 8,
        "pretrain.mixture": {"gutenberg": 2, "wikipedia": 1},
        "pretrain.phases": [{"from_fraction": 0.5, "mixture": {"wikipedia": 1}}],
    }  # fmt: skip
    checkout(cluster(shard=2, checkpoints={"every_steps": 3, "keep": 2}), **changes)
    out, err = start().communicate()
    expected = outputs()
    assert len(expected) == 4, err
    metrics = json.loads(out)
    gutenberg, wikipedia = 22 * 16, (4 * 8 - 22 + 4 * 8) * 16
    assert metrics["sources"]["gutenberg"] == {"tokens": gutenberg, "epochs": gutenberg / 387}
    assert {name: source["tokens"] for name, source in metrics["sources"].items()} == {
        "gutenberg": gutenberg, "web": 0, "wikipedia": wikipedia,
    }  # fmt: skip
    left = RUN.state / "checkpoints" / finished()[-1]
    manifest = json.loads((left / "manifest.json").read_text())
    assert manifest["source_tokens"] == {"gutenberg": gutenberg, "web": 0, "wikipedia": wikipedia}
    shutil.rmtree(left)
    shutil.rmtree("models")
    resumed_out, err = start().communicate()
    assert "resumed after step 6" in err
    assert outputs() == expected and resumed_out == out


@pytest.mark.slow
def test_checkpoints_are_written_by_the_clock_and_some_kept_permanently(checkout: Callable[..., Path]) -> None:
    """A checkpoint is due after every step; the newest two stay, and the permanent one outlives them."""
    by_clock = {"every_steps": 4, "every_seconds": 1e-6, "keep": 2, "keep_every": 4}
    checkout(cluster(shard=2, checkpoints=by_clock), **{"pretrain.steps": 7})
    _, err = start().communicate()
    assert finished() == ["step-00000006", "step-00000007"], err
    (kept,) = (RUNS / "kept").rglob("step-*")
    assert kept.name == "step-00000004" and find_damage(kept) is None


def test_a_kept_checkpoint_of_an_earlier_run_stays(make_run_config: Callable[..., RunConfig]) -> None:
    """The stage was forced to run again, or killed between keeping its checkpoints and its end."""
    run = make_run_config(cluster(checkpoints={"every_steps": 4, "keep": 2, "keep_every": 4}))
    for which in ("first", "second"):
        for name in ("step-00000003", "step-00000004", "step-00000004.damaged", "step-00000008.partial"):
            folder = run.state / "checkpoints" / name
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "manifest.json").write_text(which)
        archive_checkpoints(run)
        assert not (run.state / "checkpoints" / "step-00000004").exists()
    (kept,) = (RUNS / "kept").rglob("step-*")
    assert kept.name == "step-00000004" and (kept / "manifest.json").read_text() == "first"


@pytest.mark.slow
def test_a_flipped_bit_in_a_shard_is_named_before_the_first_step(
    checkout: Callable[..., Path], tiny: Callable[..., Settings]
) -> None:
    path = checkout(cluster()) / "data/shards/train-00001.bin"
    content = bytearray(path.read_bytes())
    content[100] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"train-00001\.bin: SHA-256 is .*, the index says") as error:
        pretrain(tiny(), RUN)
    assert "dvc repro shards" in error.value.fix
    assert not training_rows()


@pytest.mark.slow
def test_a_dead_rank_is_named_and_sigterm_ends_all(checkout: Callable[..., Path]) -> None:
    checkout(cluster(shard=2), **{"pretrain.steps": 5000})
    process = start()
    wait_for(lambda: training_rows() >= 2, process)
    victims = [p for p in psutil.Process(process.pid).children(recursive=True) if p.environ().get("RANK") == "1"]
    victims[0].kill()
    _, err = process.communicate(timeout=60)
    assert process.returncode == ClusterError.exit_code
    assert "rank 1 died (SIGKILL)" in err and "Traceback" not in err
    shutil.rmtree(RUN.state)

    process = start()
    wait_for(lambda: training_rows() >= 2, process)
    ranks = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert process.returncode == Preempted.exit_code and "the same command continues" in err
    assert not psutil.wait_procs(ranks, timeout=10)[1]


@pytest.mark.slow
def test_a_run_that_only_overflows_stops_with_advice(
    checkout: Callable[..., Path], tiny: Callable[..., Settings]
) -> None:
    scale = {"pretrain.loss_scale.initial": 1e30, "pretrain.loss_scale.max_consecutive_skips": 3}
    checkout(cluster())
    with pytest.raises(DataError, match=r"gradients of 3 steps in a row were not finite \(loss scale now 1.25e\+29"):
        pretrain(tiny(**scale), RUN)
    assert not Path("models").exists()


def test_damaged_shards_fail_before_any_process(checkout: Callable[..., Path], tiny: Callable[..., Settings]) -> None:
    folder = checkout(cluster())
    (folder / "data/shards/train-00001.bin").write_bytes(b"short")
    with pytest.raises(DataError, match="train-00001"):
        pretrain(tiny(), RUN)
    assert not RUN.state.exists()
