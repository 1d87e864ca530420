"""One contestant of `benchmarks/pretrain.py`, in a process of its own: `train_step.py NAME SHAPE.json TOKENS.bin`.

Prints `ready`; at each line on stdin it trains some steps, and answers with `{"seconds", "cpu_seconds"}`. Every
contestant takes the same tokens in the same micro-batches, clips gradients at norm 1 and steps with fused AdamW.
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
    """Waits for a turn before the first of every `steps` steps, and answers after the last."""

    def __init__(self, steps: int) -> None:
        self.steps, self.taken = steps, 0

    def step(self) -> None:
        """Call before each step."""
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


def main(name: str, shape_file: str, token_file: str) -> None:
    """Train until there are no more turns."""
    with open(shape_file) as stream:
        shape = json.load(stream)
    torch.set_num_threads(shape["threads"])
    tokens = torch.from_numpy(np.fromfile(token_file, dtype="<u2").astype(np.int64))
    windows = tokens[: len(tokens) // (shape["context"] + 1) * (shape["context"] + 1)].view(-1, shape["context"] + 1)
    CONTESTANTS[name](shape, windows, Turns(shape["steps"]))


def bare(model: torch.nn.Module, loss: Callable[..., Any], shape: Any, windows: Any, turns: Turns) -> None:
    """Forward, backward, clip, step: nothing else."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.95), weight_decay=0.1, fused=True)
    sequences, rows = shape["sequences"], shape["micro_batch"]
    for number in range(10**9):
        turns.step()
        first = number * sequences % (len(windows) - sequences)
        for batch in windows[first : first + sequences].split(rows):
            (loss(model, batch[:, :-1], batch[:, 1:]) * (rows / sequences)).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)


def ours_bare(shape: Any, windows: Any, turns: Turns) -> None:
    """Our decoder and loss in the bare loop."""
    from gptoss.config.model import ModelConfig
    from gptoss.core.memory import keep_freed_memory
    from gptoss.models.decoder import Decoder, initial_value
    from gptoss.train.loss import ScaledLoss

    keep_freed_memory()
    model = ModelConfig.model_validate(shape["model"])
    module = Decoder(model, shape["vocabulary"], range(model.layers))
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            parameter.copy_(initial_value(name, parameter.shape, model, 1))
    summed = ScaledLoss(0.0, None)
    summed.factor = 1 / (shape["micro_batch"] * shape["context"])
    bare(module, lambda module, inputs, targets: summed(module(inputs), targets), shape, windows, turns)


def hugging_face(shape: Any, windows: Any, turns: Turns) -> None:
    """`LlamaForCausalLM` under the Trainer of transformers, with its logging and checkpoints."""
    from transformers import LlamaConfig, LlamaForCausalLM, Trainer, TrainerCallback, TrainingArguments

    class Pace(TrainerCallback):
        def on_step_begin(self, *_: Any, **__: Any) -> None:
            turns.step()

    m = shape["model"]
    config = LlamaConfig(
        hidden_size=m["hidden_size"], num_hidden_layers=m["layers"], num_attention_heads=m["heads"],
        num_key_value_heads=m["kv_heads"], intermediate_size=m["ffn_size"], vocab_size=shape["vocabulary"],
        max_position_embeddings=shape["context"], tie_word_embeddings=False, use_cache=False,
    )  # fmt: skip
    arguments = TrainingArguments(
        output_dir=shape["folder"] + "/hugging_face", per_device_train_batch_size=shape["micro_batch"],
        gradient_accumulation_steps=shape["sequences"] // shape["micro_batch"], max_steps=10**6, use_cpu=True,
        optim="adamw_torch_fused", learning_rate=1e-3, weight_decay=0.1, max_grad_norm=1.0, logging_steps=1,
        save_steps=shape["save_every"], save_total_limit=1, report_to="none", disable_tqdm=True,
    )  # fmt: skip
    rows = [{"input_ids": window[:-1], "labels": window[:-1]} for window in windows]
    Trainer(model=LlamaForCausalLM(config), args=arguments, train_dataset=rows, callbacks=[Pace()]).train()


def litgpt(shape: Any, windows: Any, turns: Turns) -> None:
    """litgpt's model and loss in the bare loop."""
    from litgpt import GPT, Config
    from litgpt.utils import chunked_cross_entropy

    m = shape["model"]
    model = GPT(Config(
        block_size=shape["context"], n_layer=m["layers"], n_embd=m["hidden_size"], n_head=m["heads"],
        n_query_groups=m["kv_heads"], padded_vocab_size=shape["vocabulary"], vocab_size=shape["vocabulary"],
        intermediate_size=m["ffn_size"], mlp_class_name="LLaMAMLP", norm_class_name="RMSNorm", rotary_percentage=1.0,
        parallel_residual=False, bias=False, norm_eps=m["norm_eps"],
    ))  # fmt: skip
    bare(model, lambda model, x, y: chunked_cross_entropy(model(x), y), shape, windows, turns)


def nanochat(shape: Any, windows: Any, turns: Turns) -> None:
    """nanochat's model (its own architecture at the same sizes) in the bare loop, full attention, AdamW for all."""
    from nanochat.gpt import GPT, GPTConfig

    m = shape["model"]
    model = GPT(GPTConfig(
        sequence_len=shape["context"], vocab_size=shape["vocabulary"], n_layer=m["layers"], n_head=m["heads"],
        n_kv_head=m["kv_heads"], n_embd=m["hidden_size"], window_pattern="L",
    ))  # fmt: skip
    model.init_weights()
    bare(model, lambda model, x, y: model(x, y.contiguous()), shape, windows, turns)


CONTESTANTS = {"ours_bare": ours_bare, "hugging_face": hugging_face, "litgpt": litgpt, "nanochat": nanochat}

if __name__ == "__main__":
    main(*sys.argv[1:])
