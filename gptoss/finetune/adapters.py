"""The base model, its low-rank adapter, and the files that Instruct leaves.

LoRA (Hu et al. 2021, section 4.1) on every linear layer; with `train_embeddings` the embeddings and the output
layer are trained whole, since the chat tokens were never seen in pretraining. The frozen base may be in half precision
or, for QLoRA (Dettmers et al. 2023), in 4 bits; what is trained is float32: a half-precision copy would lose small
updates and cannot be unscaled.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

from gptoss.config.instruct import InstructConfig
from gptoss.core.atomic_files import read_json, write_json, write_text
from gptoss.core.errors import DataError, UserError

UNBOUNDED = 2**63
"""Conversations are cut, and counted, after they are tokenised: the tokenizer need not warn."""
TEMPLATE = "chat_template.jinja"
FILE_MODE = 0o644
"""safetensors writes files that only their owner may read."""


def load_base(folder: Path, settings: InstructConfig) -> tuple[Any, Any]:
    """The base model in `settings.base_precision` (in 4 bits for `qlora`), on the first visible GPU where there is one,
    and its tokenizer with the system prompt in its chat template, from files only. Raises `UserError` when there is no
    model, `DataError` for a tokenizer that cannot chat."""
    import torch
    from transformers import AutoModelForCausalLM

    if not (folder / "config.json").exists():
        raise UserError(f"{folder} holds no published base model", "run `dvc repro publish@base`, which makes it")
    tokenizer = load_tokenizer(folder, settings.system_prompt)
    dtype = getattr(torch, settings.base_precision)
    model = AutoModelForCausalLM.from_pretrained(
        folder,
        dtype=dtype,
        device_map=_first_gpu(),
        local_files_only=True,
        quantization_config=_four_bits(settings),
    )
    model.config.use_cache = False
    _keep_layout(model)
    return model, tokenizer


def load_tokenizer(folder: Path, system_prompt: str) -> Any:
    """The base's tokenizer; raises `DataError` when it cannot chat."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    if tokenizer.chat_template is None or tokenizer.pad_token_id is None:
        raise DataError(
            f"the tokenizer in {folder} has no chat template or no padding token",
            "run `dvc repro tokenizer`, which writes both; a model from elsewhere needs a pad_token in "
            "tokenizer_config.json and a chat_template.jinja that marks what the assistant says",
        )
    tokenizer.model_max_length = UNBOUNDED
    tokenizer.chat_template = with_system_prompt(tokenizer.chat_template, system_prompt)
    return tokenizer


def control_tokens(tokenizer: Any) -> list[str]:
    """What the tokenizer reads as a control token wherever a text spells it: those with a name, and those that stand
    in `tokenizer.json` alone."""
    added = [str(token) for token in tokenizer.added_tokens_decoder.values() if token.special]
    return list(dict.fromkeys([*tokenizer.all_special_tokens, *added]))


def _first_gpu() -> dict[str, int] | None:
    """The whole model on the GPU on which it will be trained; None without one."""
    import torch

    if not torch.cuda.is_available():
        return None
    # Training asks for deterministic products; PyTorch looks for this at the first product and never again.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":16:8")
    return {"": 0}


def _keep_layout(model: Any) -> None:
    """Evaluating on a CPU with AVX-512, bitsandbytes would repack 4-bit weights for products that have no backward
    pass, and the training steps after it would silently learn nothing below."""
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False


def with_system_prompt(template: str, prompt: str) -> str:
    """The chat template, opening with `prompt` where a conversation brings no system message of its own."""
    if not prompt:
        return template
    turn = json.dumps(f"<|im_start|>system\n{prompt}<|im_end|>\n", ensure_ascii=False)
    return f"{{%- if messages[0]['role'] != 'system' %}}\n    {{{{- {turn} }}}}\n{{%- endif %}}\n{template}"


def _four_bits(settings: InstructConfig) -> Any:
    """QLoRA's storage of the base (Dettmers et al. 2023, section 3): NormalFloat4 with double quantisation."""
    if settings.method != "qlora":
        return None
    try:
        import bitsandbytes  # noqa: F401
        import torch
        from transformers import BitsAndBytesConfig
    except ImportError:
        raise UserError(
            "instruct.method is qlora, but bitsandbytes is not installed",
            "install it with `pip install -e '.[qlora]'`, or set instruct.method to lora",
        ) from None
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=getattr(torch, settings.base_precision),
        llm_int8_skip_modules=["lm_head"],
    )


def trainable(model: Any, settings: InstructConfig, seed: int) -> Any:
    """`model` with an adapter around it (`lora`, `qlora`), or itself with every weight trainable (`full`)."""
    from transformers import set_seed

    set_seed(seed)
    if settings.gradient_checkpointing:
        model.enable_input_require_grads()  # else nothing in a checkpointed block needs a gradient
    if settings.method == "full":
        return model.requires_grad_(True)
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(
        task_type="CAUSAL_LM",
        r=settings.lora_rank,
        lora_alpha=settings.lora_alpha,
        lora_dropout=0.0,
        target_modules="all-linear",
        modules_to_save=embeddings(model) if settings.train_embeddings else None,
        ensure_weight_tying=bool(model.config.tie_word_embeddings),
    )
    adapted = get_peft_model(model, config)
    widen(adapted)
    return adapted


def widen(model: Any) -> None:
    """Make what is trained float32. A trained embedding hands its output to half-precision layers, and a trained
    output layer takes theirs: both convert at that border."""
    import torch

    frozen = {p.dtype for p in model.parameters() if not p.requires_grad and p.dtype in (torch.float16, torch.bfloat16)}
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
    if not frozen:
        return
    half = frozen.pop()
    model.get_input_embeddings().register_forward_hook(lambda module, inputs, output: output.to(half))
    head = model.get_output_embeddings()
    if any(parameter.requires_grad for parameter in head.parameters()):
        head.register_forward_pre_hook(lambda module, inputs: tuple(value.float() for value in inputs))


def embeddings(model: Any) -> list[str]:
    """What the model calls its embedding and its head; a tied head follows the embedding."""
    parts = [model.get_input_embeddings()]
    if not model.config.tie_word_embeddings:
        parts.append(model.get_output_embeddings())
    return [name.rpartition(".")[2] for name, part in model.named_modules() if any(part is one for one in parts)]


def trained_parameters(model: Any) -> int:
    """How many values are trained."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


def save(model: Any, tokenizer: Any, base: Path, folder: Path, settings: InstructConfig) -> None:
    """Write `folder/adapter` (not for `full`) and `folder/merged`: a stock float32 model with its tokenizer and its
    chat template. An adapter of a base in fewer bits is merged into the base at full precision."""
    if settings.method != "full":
        _save_adapter(model, folder / "adapter")
        model = _merged(model, base, folder / "adapter", settings)
    merged = folder / "merged"
    model.config.use_cache = True
    model.save_pretrained(merged, max_shard_size="5GB")
    for path in tokenizer_files(base):
        shutil.copyfile(path, merged / path.name)
    write_text(merged / TEMPLATE, tokenizer.chat_template)
    for path in folder.rglob("*.safetensors"):
        path.chmod(FILE_MODE)


def _merged(model: Any, base: Path, adapter: Path, settings: InstructConfig) -> Any:
    if settings.method == "lora" and settings.base_precision == "float32":
        return model.merge_and_unload()
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    whole = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32, local_files_only=True)
    return PeftModel.from_pretrained(whole, adapter).merge_and_unload()


def tokenizer_files(folder: Path) -> list[Path]:
    """The files of a tokenizer folder, whichever of them there are."""
    names = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", TEMPLATE)
    return [folder / name for name in names if (folder / name).exists()]


def _save_adapter(model: Any, folder: Path) -> None:
    """peft's files, with its sets in a fixed order and without its empty model card."""
    model.save_pretrained(folder, save_embedding_layers=False)
    (folder / "README.md").unlink(missing_ok=True)
    config = read_json(folder / "adapter_config.json")
    for key in ("target_modules", "modules_to_save"):
        if isinstance(config.get(key), list):
            config[key] = sorted(config[key])
    write_json(folder / "adapter_config.json", config)
