"""Load the base model, make it trainable, and save what fine-tuning leaves.

LoRA (Hu et al. 2021, section 4.1) on every linear layer; with `train_embeddings` the embeddings and the output layer
are trained in full. The frozen base may be in half precision or, for QLoRA (Dettmers et al. 2023), in 4 bits; trained
parameters are float32: a half-precision copy would lose small updates, and its gradients cannot be unscaled.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig, set_seed

from gptoss.config.instruct import InstructConfig
from gptoss.core.atomic_files import read_json, write_json, write_text
from gptoss.core.errors import DataError, UserError
from gptoss.finetune.chat_template import with_system_prompt
from gptoss.tokenizer.folder import CHAT_TEMPLATE, tokenizer_files

# Conversations are cut, and counted, after they are tokenized: the tokenizer need not warn.
NO_LIMIT = 2**63
# safetensors writes files that only their owner may read.
FILE_MODE = 0o644


def load_base(folder: Path, config: InstructConfig) -> tuple[Any, Any]:
    """The base model in `config.base_precision` (in 4 bits for `qlora`), on the first visible GPU if there is one, and
    its tokenizer with the system prompt in its chat template. Raises `UserError` if there is no model, `DataError` for
    a tokenizer that cannot chat."""
    if not (folder / "config.json").exists():
        raise UserError(f"{folder} holds no published base model", "run `dvc repro publish@base`, which makes it")
    tokenizer = load_tokenizer(folder, config.system_prompt)
    model = AutoModelForCausalLM.from_pretrained(
        folder,
        dtype=getattr(torch, config.base_precision),
        # The whole model on one GPU, the one on which it will be trained.
        device_map={"": 0} if torch.cuda.is_available() else None,
        local_files_only=True,
        quantization_config=_quantization(config),
    )
    model.config.use_cache = False
    # Evaluated on a CPU with AVX-512, bitsandbytes would repack 4-bit weights into a layout without a backward pass,
    # and the layers below would silently learn nothing in the training steps that follow.
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False
    return model, tokenizer


def load_tokenizer(folder: Path, system_prompt: str) -> Any:
    """The base's tokenizer. Raises `DataError` if it cannot chat."""
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    if tokenizer.chat_template is None or tokenizer.pad_token_id is None:
        raise DataError(
            f"the tokenizer in {folder} has no chat template or no padding token",
            "run `dvc repro tokenizer`, which writes both; a model from elsewhere needs a pad_token in "
            "tokenizer_config.json and a chat_template.jinja that marks what the assistant says",
        )
    tokenizer.model_max_length = NO_LIMIT
    # Set here, not when conversations are read: training, merging and the published template then agree.
    tokenizer.chat_template = with_system_prompt(tokenizer.chat_template, system_prompt)
    return tokenizer


def special_token_texts(tokenizer: Any) -> list[str]:
    """The texts that the tokenizer reads as special tokens: those with a name such as `pad_token`, and those that only
    `tokenizer.json` marks as special."""
    added = [str(token) for token in tokenizer.added_tokens_decoder.values() if token.special]
    # Tokenizers from elsewhere often have special tokens that their configuration does not name.
    return list(dict.fromkeys([*tokenizer.all_special_tokens, *added]))


def _quantization(config: InstructConfig) -> Any:
    """QLoRA's storage of the base (Dettmers et al. 2023, section 3): NormalFloat4 with double quantization."""
    if config.method != "qlora":
        return None
    try:
        import bitsandbytes  # noqa: F401 - an optional dependency
    except ImportError:
        raise UserError(
            "instruct.method is qlora, but bitsandbytes is not installed",
            "install it with `pip install -e '.[qlora]'`, or set instruct.method to lora",
        ) from None
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=getattr(torch, config.base_precision),
        llm_int8_skip_modules=["lm_head"],  # errors of the output layer are errors of the logits
    )


def make_trainable(model: Any, config: InstructConfig, seed: int) -> Any:
    """`model` with an adapter around it (`lora`, `qlora`), or itself with every weight trainable (`full`)."""
    set_seed(seed)  # of the random half of each LoRA pair; the other half starts at zero
    if config.gradient_checkpointing:
        # With a frozen embedding no input of a checkpointed block needs a gradient, and the block would get none.
        model.enable_input_require_grads()
    if config.method == "full":
        return model.requires_grad_(True)
    lora = LoraConfig(
        task_type="CAUSAL_LM",
        r=config.lora_rank,
        lora_alpha=config.lora_alpha,
        lora_dropout=0.0,
        target_modules="all-linear",  # as QLoRA, section 4, found necessary to match full fine-tuning
        modules_to_save=embedding_names(model) if config.train_embeddings else None,
        ensure_weight_tying=bool(model.config.tie_word_embeddings),
    )
    adapted = get_peft_model(model, lora)
    upcast_trained(adapted)
    return adapted


def upcast_trained(model: Any) -> None:
    """Convert trained parameters to float32, and activations where they meet half-precision layers."""
    frozen = {p.dtype for p in model.parameters() if not p.requires_grad and p.dtype in (torch.float16, torch.bfloat16)}
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
    if not frozen:
        return
    half = frozen.pop()
    # peft converts inside of its LoRA layers. Embedding and output layer, if trained in full, are at the border.
    model.get_input_embeddings().register_forward_hook(lambda module, inputs, output: output.to(half))
    head = model.get_output_embeddings()
    if any(parameter.requires_grad for parameter in head.parameters()):
        head.register_forward_pre_hook(lambda module, inputs: tuple(value.float() for value in inputs))


def embedding_names(model: Any) -> list[str]:
    """The names of the embedding and of the output layer in the model; of the embedding alone if they are tied."""
    layers = [model.get_input_embeddings()]
    if not model.config.tie_word_embeddings:
        layers.append(model.get_output_embeddings())
    return [name.rpartition(".")[2] for name, module in model.named_modules() if any(module is one for one in layers)]


def count_trained(model: Any) -> int:
    """The number of trained parameters."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


def save(model: Any, tokenizer: Any, base: Path, folder: Path, config: InstructConfig) -> None:
    """Write `folder/adapter` (not for `full`) and `folder/merged`: a stock float32 model with its tokenizer and its
    chat template."""
    if config.method != "full":
        _save_adapter(model, folder / "adapter")
        model = _merge(model, base, folder / "adapter", config)
    merged = folder / "merged"
    model.config.use_cache = True  # for generation; training switched it off
    model.save_pretrained(merged, max_shard_size="5GB")
    for path in tokenizer_files(base):
        shutil.copyfile(path, merged / path.name)
    # After the copy: it replaces the template of the base.
    write_text(merged / CHAT_TEMPLATE.name, tokenizer.chat_template)
    for path in folder.rglob("*.safetensors"):
        path.chmod(FILE_MODE)


def _merge(model: Any, base: Path, adapter: Path, config: InstructConfig) -> Any:
    if config.method == "lora" and config.base_precision == "float32":
        return model.merge_and_unload()
    # Into the base at full precision: merged into fewer bits, most of a small adapter would be rounded away.
    full_precision = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32, local_files_only=True)
    return PeftModel.from_pretrained(full_precision, adapter).merge_and_unload()


def _save_adapter(model: Any, folder: Path) -> None:
    """Write peft's files without its empty model card."""
    model.save_pretrained(folder, save_embedding_layers=False)
    (folder / "README.md").unlink(missing_ok=True)
    adapter_config = read_json(folder / "adapter_config.json")
    # peft keeps these as sets, whose order differs from process to process.
    for key in ("target_modules", "modules_to_save"):
        if isinstance(adapter_config.get(key), list):
            adapter_config[key] = sorted(adapter_config[key])
    write_json(folder / "adapter_config.json", adapter_config)
