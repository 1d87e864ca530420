"""Activation maxima."""

from __future__ import annotations

import math
from collections.abc import Callable
from types import SimpleNamespace

import torch
from torch import nn

from gptoss.train.run_config import RunConfig
from gptoss.train.throughput import ActivationMonitor
from tests.training_runs import cluster


def test_the_largest_activation_of_a_layer_that_overflows_is_infinite(
    make_run_config: Callable[..., RunConfig],
) -> None:
    layers = nn.ModuleDict({str(number): nn.Identity() for number in range(3)})
    part = SimpleNamespace(trunk=SimpleNamespace(layers=layers))
    activations = ActivationMonitor([part], make_run_config(cluster()), torch.device("cpu"))  # type: ignore[list-item]
    values = (-7.0, -math.inf, math.nan)
    with activations.recording(True):
        for layer, value in zip(layers.values(), values, strict=True):
            layer(torch.tensor([1.0, value], dtype=torch.float16))
    assert activations.maxima.tolist() == [7.0, math.inf, math.inf]
