"""Seconds per optimizer step on a CPU: AdamW in PyTorch's three implementations (fused, foreach, plain), and Muon.

    python benchmarks/optimizers.py [--profile 125m] [--layers 2] [--rounds 7]

Uses the parameters of the first layers of a profile and its embeddings in float32, with all threads. Optimizers take
turns; figures are medians. The last line of the output is JSON.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def main() -> None:
    """Measure and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--profile", default="125m")
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    sys.path.insert(0, str(ROOT))
    import torch

    from gptoss.config.profiles import compose
    from gptoss.config.settings import Settings
    from gptoss.config.yaml_sections import check
    from gptoss.models.decoder import Decoder
    from gptoss.train.optimizer import Optimizer

    settings = check(Settings, compose(arguments.profile, ROOT / "profiles"), origin=arguments.profile)
    module = Decoder(settings.model, settings.tokenizer.padded_vocab_size, range(arguments.layers))
    named = list(module.named_parameters())
    generator = torch.Generator().manual_seed(0)
    for _, parameter in named:
        parameter.grad = torch.randn(parameter.shape, generator=generator) * 1e-3
    # Ours for Muon: it updates matrices by Muon and the rest by AdamW, as in training.
    muon = Optimizer(named, settings.pretrain.model_copy(update={"optimizer": "muon"}))
    steps: dict[str, Callable[[], object]] = {"muon_and_adamw": lambda: muon.step(1e-4)}
    for name, options in (("fused", {"fused": True}), ("foreach", {"foreach": True}), ("plain", {"foreach": False})):
        steps[f"adamw_{name}"] = torch.optim.AdamW(module.parameters(), lr=1e-4, **options).step
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(arguments.rounds + 1):  # one more, for the warm-up
        for name, step in steps.items():
            start = time.perf_counter()
            step()
            seconds[name].append(time.perf_counter() - start)
    # The first step allocates the moments.
    medians = {name: statistics.median(measured[1:]) for name, measured in seconds.items()}
    result = {"parameters": sum(parameter.numel() for _, parameter in named), "threads": torch.get_num_threads()}
    print(json.dumps(result | {f"seconds_{name}": round(value, 4) for name, value in medians.items()}))


if __name__ == "__main__":
    main()
