"""Speed of instruction tuning compared with trl's SFTTrainer: one core, same base, conversations, adapter, settings.

    python benchmarks/instruct.py [--base FOLDER] [--rounds N] [--epochs N]

FOLDER is a published base model (`gpt-oss/tiny` of a default run). Both compute the loss on the assistant's tokens
only. Each round trains each contestant from scratch in a separate process. Figures are medians of tokens of the
conversations (without padding) per second, from the first step to the last. `ours_packed` puts several conversations
into one sequence with a mask between them; trl's packing needs FlashAttention for that, so it has no counterpart here.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
CONTESTANTS = ("ours", "ours_packed", "trl")


def load_config(epochs: int, packing: bool) -> Any:
    """Settings of the tiny profile with these values of `instruct`."""
    from gptoss.config.settings import Settings
    from gptoss.config.yaml_sections import check, load_yaml

    values = load_yaml(ROOT / "profiles" / "tiny.yaml")
    values["instruct"] |= {"epochs": epochs, "packing": packing}
    return check(Settings, values, origin="tiny")


def prepare(base: Path, settings: Any) -> tuple[Any, Any, Any]:
    """Load the model with its adapter, the tokenizer, and the encoded conversations."""
    import torch

    from gptoss.finetune import adapters, examples
    from gptoss.finetune.conversations import read_corpus

    torch.set_num_threads(1)  # both use one core, also where the machine has more
    model, tokenizer = adapters.load_base(base, settings.instruct)
    conversations = read_corpus([], [], tokenizer.all_special_tokens).conversations
    encoded = examples.make_examples(
        tokenizer, conversations, max_length=settings.instruct.max_length, fraction=0.01, seed=settings.seed
    )
    return adapters.make_trainable(model, settings.instruct, settings.seed), tokenizer, encoded


def train_ours(base: Path, settings: Any, folder: Path) -> float:
    """Seconds of training, without the loss on held-out conversations, which only ours computes."""
    from gptoss.finetune import training

    model, tokenizer, encoded = prepare(base, settings)
    # Replaced in the module: the measured time is then only that of training steps.
    training.held_out_loss = lambda *_: 0.0
    started = time.perf_counter()
    training.train(
        model, encoded, settings.instruct, seed=settings.seed, pad_id=tokenizer.pad_token_id, state=folder,
        log=lambda values, step: None,
    )  # fmt: skip
    return time.perf_counter() - started


def train_trl(base: Path, settings: Any, folder: Path) -> float:
    """Seconds of training by `SFTTrainer` on the same token ids and labels."""
    from datasets import Dataset, disable_progress_bars
    from trl import SFTConfig, SFTTrainer

    from gptoss.finetune import training

    disable_progress_bars()
    model, tokenizer, encoded = prepare(base, settings)
    # The private function on purpose: both must train with the same arguments, also after a change of ours.
    arguments = training._arguments(settings.instruct, settings.seed, folder).to_dict()
    same = ("num_train_epochs", "per_device_train_batch_size", "learning_rate", "lr_scheduler_type", "warmup_steps",
            "weight_decay", "max_grad_norm", "seed", "full_determinism", "logging_steps", "save_steps",
            "save_total_limit", "disable_tqdm", "dataloader_pin_memory")  # fmt: skip
    # `skip_prepare_dataset`: the token ids and labels are ours, so that both train on exactly the same tokens.
    config = SFTConfig(
        output_dir=str(folder), max_length=settings.instruct.max_length, report_to=[], bf16=False,
        gradient_checkpointing=False, dataset_kwargs={"skip_prepare_dataset": True},
        **{name: arguments[name] for name in same},
    )  # fmt: skip
    trainer = SFTTrainer(
        model=model, args=config, train_dataset=Dataset.from_list(encoded.train), processing_class=tokenizer
    )
    started = time.perf_counter()
    trainer.train()
    return time.perf_counter() - started


def run(contestant: str, base: Path, epochs: int) -> dict[str, float]:
    """Train one contestant in this process."""
    settings = load_config(epochs, packing=contestant == "ours_packed")
    tokens = epochs * prepare(base, settings)[2].counts()["tokens"]
    with tempfile.TemporaryDirectory() as folder:
        train = train_trl if contestant == "trl" else train_ours
        # CPU time too: on a busy machine wall time measures the neighbours.
        cpu = time.process_time()
        seconds = train(base, settings, Path(folder))
        return {"tokens_per_second": tokens / seconds, "tokens_per_cpu_second": tokens / (time.process_time() - cpu)}


def run_in_turns(base: Path, rounds: int, epochs: int) -> dict[str, Any]:
    """Run all contestants in turns, each run in a new process."""
    wall: dict[str, list[float]] = {name: [] for name in CONTESTANTS}
    cpu: dict[str, list[float]] = {name: [] for name in CONTESTANTS}
    for number in range(rounds):
        for name in CONTESTANTS:
            command = [sys.executable, __file__, "--run", name, "--base", str(base), "--epochs", str(epochs)]
            rates = json.loads(
                subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1]
            )
            wall[name].append(rates["tokens_per_second"])
            cpu[name].append(rates["tokens_per_cpu_second"])
            print(f"round {number + 1}: {name} {rates['tokens_per_second']:,.0f} tokens/s", file=sys.stderr)
    speeds = {name: round(statistics.median(values)) for name, values in wall.items()}
    by_cpu = {name: statistics.median(values) for name, values in cpu.items()}
    return {
        "ratio_trl": round(speeds["ours"] / speeds["trl"], 3),
        "ratio_trl_packed": round(speeds["ours_packed"] / speeds["trl"], 3),
        "ratio_trl_by_cpu": round(by_cpu["ours"] / by_cpu["trl"], 3),
        "tokens_per_second": speeds,
        "rounds": rounds,
    }


def main() -> None:
    """Run all contestants, or the one named by `--run`, and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", type=Path, default=ROOT / "gpt-oss" / "tiny")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--run", choices=CONTESTANTS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.run:
        result = run(arguments.run, arguments.base, arguments.epochs)
    else:
        result = run_in_turns(arguments.base, arguments.rounds, arguments.epochs)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
