"""The published model as one GGUF file for llama.cpp and the programs built on it, written tensor by tensor.

In: the published folder (float16, `LlamaForCausalLM`, byte-level BPE). Out: `gguf/NAME-F16.gguf` inside it. Format and
names come from the package `gguf`. llama.cpp differs from Hugging Face in three ways:

- rows of the query and key projections: it rotates neighbouring pairs of a head, Hugging Face rotates halves
  (`permute` in llama.cpp's convert_hf_to_gguf.py);
- every row of the embedding has a token, including the rows of padding;
- norms are float32, because it computes with them in float32.

References: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gptoss.config.settings import Settings
from gptoss.core.atomic_files import read_json
from gptoss.core.errors import UserError
from gptoss.publish.weights import stored_tensors
from gptoss.tables.safetensors_files import StoredTensor

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

# llama.cpp selects the pre-tokenizer, a regular expression in C++, by name: this is that of `gptoss/tokenizer/bpe.py`.
PRE_TOKENIZER = "llama-bpe"


def require_supported(settings: Settings) -> None:
    """Raise `UserError` when `publish.gguf` is set for a model that this file cannot describe."""
    supported: dict[str, tuple[Any, Any]] = {
        "model.architecture": (settings.model.architecture, "llama"),
        "tokenizer.algorithm": (settings.tokenizer.algorithm, "bpe"),
        "model.rope_scaling": (settings.model.rope_scaling, None),
    }
    # Checked before any work: the stage would otherwise fail after casting a large model.
    for key, (value, wanted) in supported.items():
        if settings.publish.gguf and value != wanted:
            raise UserError(
                f"publish.gguf is true and {key} is {value}: only {wanted} can be written as GGUF",
                "set publish.gguf to false",
            )


def write_gguf(folder: Path, name: str) -> None:
    """Write the file for the published `folder`. One tensor at a time is in memory."""
    from gguf import GGUFWriter, LlamaFileType

    path = folder / "gguf" / f"{name}-F16.gguf"
    path.parent.mkdir()
    config = read_json(folder / "config.json")
    writer = GGUFWriter(path, "llama")
    writer.add_name(name)
    writer.add_file_type(LlamaFileType.MOSTLY_F16)  # "mostly": norms are float32
    _add_hyperparameters(writer, config)
    _add_tokenizer(writer, folder, config)
    # The header lists every tensor before the first byte of data, so names and sizes come first, data second.
    tensors = stored_tensors(folder)
    for tensor in tensors:
        dtype = _dtype(tensor)
        writer.add_tensor_info(_gguf_name(tensor.name, config), tensor.shape, dtype, tensor.values * dtype.itemsize)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    for tensor in tensors:
        writer.write_tensor_data(_tensor_values(tensor, config))
    writer.close()


def _add_hyperparameters(writer: Any, config: dict[str, Any]) -> None:
    head_size = config["head_dim"]
    writer.add_vocab_size(config["vocab_size"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_key_length(head_size)
    writer.add_value_length(head_size)
    writer.add_rope_dimension_count(head_size)
    writer.add_rope_freq_base(config["rope_theta"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])


def _add_tokenizer(writer: Any, folder: Path, config: dict[str, Any]) -> None:
    """Add tokens, merges, special tokens and the chat template."""
    from gguf import TokenType

    content = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    token_of = {number: token for token, number in content["model"]["vocab"].items()}
    token_of |= {added["id"]: added["content"] for added in content["added_tokens"]}
    special = {added["id"] for added in content["added_tokens"] if added["special"]}
    # Rows of padding get a name and the type UNUSED, so that llama.cpp never shows or samples them.
    rows = range(config["vocab_size"])
    writer.add_tokenizer_model("gpt2")  # GGUF's name for byte-level BPE
    writer.add_tokenizer_pre(PRE_TOKENIZER)
    writer.add_token_list([token_of.get(number, f"[PAD{number}]") for number in rows])
    writer.add_token_types(
        [
            TokenType.CONTROL if number in special else TokenType.NORMAL if number in token_of else TokenType.UNUSED
            for number in rows
        ]
    )
    # `tokenizers` wrote a merge as "a b" up to 0.19, as ["a", "b"] since.
    writer.add_token_merges([m if isinstance(m, str) else " ".join(m) for m in content["model"]["merges"]])
    # The first id ends an answer: the end of a message for the Instruct model, of a document for the base.
    stop_ids = read_json(folder / "generation_config.json")["eos_token_id"]
    writer.add_bos_token_id(config["bos_token_id"])
    writer.add_eos_token_id(stop_ids[0] if isinstance(stop_ids, list) else stop_ids)
    writer.add_pad_token_id(config["pad_token_id"])
    writer.add_add_bos_token(False)  # as the Hugging Face tokenizer
    writer.add_chat_template((folder / "chat_template.jinja").read_text(encoding="utf-8"))


def _gguf_name(name: str, config: dict[str, Any]) -> str:
    """Return `blk.0.attn_q.weight` for `model.layers.0.self_attn.q_proj.weight`."""
    from gguf import MODEL_ARCH, get_tensor_name_map

    names = get_tensor_name_map(MODEL_ARCH.LLAMA, config["num_hidden_layers"])
    found = names.get_name(name, try_suffixes=(".weight",))
    if found is None:
        raise KeyError(f"{name} has no name in GGUF")
    return str(found)


def _tensor_values(tensor: StoredTensor, config: dict[str, Any]) -> npt.NDArray[Any]:
    import torch

    values: npt.NDArray[Any] = torch.cat(list(tensor.blocks())).reshape(tensor.shape).numpy().astype(_dtype(tensor))
    for projection, heads in (("q_proj", config["num_attention_heads"]), ("k_proj", config["num_key_value_heads"])):
        if f".{projection}." in tensor.name:
            values = _interleave_halves(values, heads)
    return values


def _interleave_halves(rows: npt.NDArray[Any], heads: int) -> npt.NDArray[Any]:
    """Reorder the d rows of each head to 0, d/2, 1, d/2 + 1 …: pairs that are d/2 apart become neighbours."""
    halves = rows.reshape(heads, 2, rows.shape[0] // heads // 2, *rows.shape[1:])
    return halves.swapaxes(1, 2).reshape(rows.shape).copy()  # contiguous, as the writer requires


def _dtype(tensor: StoredTensor) -> np.dtype[Any]:
    import numpy as np

    return np.dtype(np.float32 if len(tensor.shape) == 1 else np.float16)  # only norms have one axis
