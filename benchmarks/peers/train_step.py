"""One contestant of `benchmarks/pretrain.py` in a separate process: `train_step.py NAME CONFIG.json TOKENS.bin`.

Prints `ready`. For each line on stdin it trains a number of steps and prints `{"seconds", "cpu_seconds"}`. Every
contestant uses the same tokens in the same micro-batches, clips gradients at norm 1 and steps with fused AdamW.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch


class Turns:
    """Waits for a line on stdin before the first of every `steps` steps, and prints the times after the last."""

    def __init__(self, steps: int) -> None:
        self.steps, self.taken = steps, 0

    def step(self) -> None:
        """Call before each step."""
        # Before, not after: what a trainer does between two steps (logging, saving) belongs to the step before.
        if self.taken % self.steps == 0:
            if self.taken:
                seconds, cpu = time.perf_counter() - self.began, time.process_time() - self.cpu
                print(json.dumps({"seconds": seconds, "cpu_seconds": cpu}), flush=True)
            else:
                print("ready", flush=True)
            if not sys.stdin.readline():
                sys.exit(0)
            self.began, self.cpu = time.perf_counter(), time.process_time()
        self.taken += 1


def main(name: str, config_file: str, token_file: str) -> None:
    """Train until there are no more turns."""
    with open(config_file) as stream:
        config = json.load(stream)
    torch.set_num_threads(config["threads"])
    tokens = torch.from_numpy(np.fromfile(token_file, dtype="<u2").astype(np.int64))
    # Contiguous windows of context + 1 tokens: inputs and targets overlap in all but one.
    windows = tokens[: len(tokens) // (config["context"] + 1) * (config["context"] + 1)].view(-1, config["context"] + 1)
    CONTESTANTS[name](config, windows, Turns(config["steps"]))


def bare(model: torch.nn.Module, loss: Callable[..., Any], config: Any, windows: Any, turns: Turns) -> None:
    """Train with a loop of only forward, backward, clip and step."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.95), weight_decay=0.1, fused=True)
    sequences, rows = config["sequences"], config["micro_batch"]
    for number in range(10**9):
        turns.step()
        first = number * sequences % (len(windows) - sequences)
        for batch in windows[first : first + sequences].split(rows):
            # A mean over the micro-batch, weighted by its share of the step.
            (loss(model, batch[:, :-1], batch[:, 1:]) * (rows / sequences)).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)  # the default of all the loops that are compared


def ours_bare(config: Any, windows: Any, turns: Turns) -> None:
    """Train our decoder with our loss in the bare loop."""
    from gptoss.config.model import ModelConfig
    from gptoss.core.memory import keep_freed_memory
    from gptoss.models.decoder import Decoder, initial_value
    from gptoss.train.loss import ScaledLoss

    keep_freed_memory()  # as the stage does
    model_config = ModelConfig.model_validate(config["model"])
    module = Decoder(model_config, config["vocabulary"], range(model_config.layers))
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            parameter.copy_(initial_value(name, parameter.shape, model_config, 1))
    summed = ScaledLoss(0.0, None)
    # The loss is a sum over tokens; the others return a mean.
    summed.factor = 1 / (config["micro_batch"] * config["context"])
    bare(module, lambda module, inputs, targets: summed(module(inputs), targets), config, windows, turns)


def hugging_face(config: Any, windows: Any, turns: Turns) -> None:
    """Train `LlamaForCausalLM` with the Trainer of transformers, with its logging and checkpoints."""
    from transformers import LlamaConfig, LlamaForCausalLM, Trainer, TrainerCallback, TrainingArguments

    class TurnTaking(TrainerCallback):
        def on_step_begin(self, *_: Any, **__: Any) -> None:
            turns.step()

    m = config["model"]
    model_config = LlamaConfig(
        hidden_size=m["hidden_size"], num_hidden_layers=m["layers"], num_attention_heads=m["heads"],
        num_key_value_heads=m["kv_heads"], intermediate_size=m["ffn_size"], vocab_size=config["vocabulary"],
        max_position_embeddings=config["context"], tie_word_embeddings=False, use_cache=False,
    )  # fmt: skip
    arguments = TrainingArguments(
        output_dir=config["folder"] + "/hugging_face", per_device_train_batch_size=config["micro_batch"],
        gradient_accumulation_steps=config["sequences"] // config["micro_batch"], max_steps=10**6, use_cpu=True,
        optim="adamw_torch_fused", learning_rate=1e-3, weight_decay=0.1, max_grad_norm=1.0, logging_steps=1,
        save_steps=config["save_every"], save_total_limit=1, report_to="none", disable_tqdm=True,
    )  # fmt: skip
    # Not shifted: the model shifts labels itself, and so trains on one target fewer per sequence than the others.
    rows = [{"input_ids": window[:-1], "labels": window[:-1]} for window in windows]
    Trainer(model=LlamaForCausalLM(model_config), args=arguments, train_dataset=rows, callbacks=[TurnTaking()]).train()


def litgpt(config: Any, windows: Any, turns: Turns) -> None:
    """Train litgpt's model with its loss in the bare loop."""
    from litgpt import GPT, Config
    from litgpt.utils import chunked_cross_entropy

    m = config["model"]
    model = GPT(Config(
        block_size=config["context"], n_layer=m["layers"], n_embd=m["hidden_size"], n_head=m["heads"],
        n_query_groups=m["kv_heads"], padded_vocab_size=config["vocabulary"], vocab_size=config["vocabulary"],
        intermediate_size=m["ffn_size"], mlp_class_name="LLaMAMLP", norm_class_name="RMSNorm", rotary_percentage=1.0,
        parallel_residual=False, bias=False, norm_eps=m["norm_eps"],
    ))  # fmt: skip
    bare(model, lambda model, x, y: chunked_cross_entropy(model(x), y), config, windows, turns)


def nanochat(config: Any, windows: Any, turns: Turns) -> None:
    """Train nanochat's model in the bare loop: its own architecture at the same sizes, full attention, AdamW only."""
    from nanochat.gpt import GPT, GPTConfig

    m = config["model"]
    model = GPT(GPTConfig(
        sequence_len=config["context"], vocab_size=config["vocabulary"], n_layer=m["layers"], n_head=m["heads"],
        n_kv_head=m["kv_heads"], n_embd=m["hidden_size"], window_pattern="L",
    ))  # fmt: skip
    model.init_weights()
    bare(model, lambda model, x, y: model(x, y.contiguous()), config, windows, turns)


CONTESTANTS = {"ours_bare": ours_bare, "hugging_face": hugging_face, "litgpt": litgpt, "nanochat": nanochat}

if __name__ == "__main__":
    main(*sys.argv[1:])
