"""The published model as one GGUF file for llama.cpp and what is built on it, written tensor by tensor.

In: the published folder (float16, `LlamaForCausalLM`, byte-level BPE). Out: `gguf/NAME-F16.gguf` inside it. The format
and the names are those of the package `gguf`; llama.cpp wants two things otherwise than Hugging Face has them: the rows
of the query and key projections, since it rotates neighbouring pairs where Hugging Face rotates halves, and one
token for every row of the embedding, padding included. Norms are float32, as llama.cpp computes with them.
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

PRE_TOKENIZER = "llama-bpe"
"""llama.cpp's name for the pattern of `gptoss/tokenizer/bpe.py`."""


def require(settings: Settings) -> None:
    """Raise `UserError` for a model that this file cannot describe."""
    for key, value, wanted in (
        ("model.architecture", settings.model.architecture, "llama"),
        ("tokenizer.algorithm", settings.tokenizer.algorithm, "bpe"),
        ("model.rope_scaling", settings.model.rope_scaling, None),
    ):
        if value != wanted:
            raise UserError(
                f"publish.gguf is true and {key} is {value}: only {wanted} can be written as GGUF",
                "set publish.gguf to false",
            )


def write(folder: Path, name: str) -> Path:
    """Write the file for the published `folder`; returns its path."""
    from gguf import GGUFWriter, LlamaFileType

    path = folder / "gguf" / f"{name}-F16.gguf"
    path.parent.mkdir()
    config = read_json(folder / "config.json")
    writer = GGUFWriter(path, "llama")
    writer.add_name(name)
    writer.add_file_type(LlamaFileType.MOSTLY_F16)
    add_shape(writer, config)
    add_tokenizer(writer, folder, config["vocab_size"])
    tensors = stored_tensors(folder)
    for tensor in tensors:
        dtype = _dtype(tensor)
        writer.add_tensor_info(gguf_name(tensor.name, config), tensor.shape, dtype, tensor.values * dtype.itemsize)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    for tensor in tensors:
        writer.write_tensor_data(values(tensor, config))
    writer.close()
    return path


def add_shape(writer: Any, config: dict[str, Any]) -> None:
    """What `config.json` says."""
    head = config["head_dim"]
    writer.add_vocab_size(config["vocab_size"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_key_length(head)
    writer.add_value_length(head)
    writer.add_rope_dimension_count(head)
    writer.add_rope_freq_base(config["rope_theta"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])


def add_tokenizer(writer: Any, folder: Path, rows: int) -> None:
    """Tokens, merges, special tokens and the chat template; rows of the embedding without a token get a name."""
    from gguf import TokenType

    content = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    by_id = {number: token for token, number in content["model"]["vocab"].items()}
    by_id |= {added["id"]: added["content"] for added in content["added_tokens"]}
    special = {added["id"] for added in content["added_tokens"] if added["special"]}
    merges = (merge if isinstance(merge, str) else " ".join(merge) for merge in content["model"]["merges"])
    config = read_json(folder / "config.json")
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(PRE_TOKENIZER)
    writer.add_token_list([by_id.get(number, f"[PAD{number}]") for number in range(rows)])
    writer.add_token_types(
        [
            TokenType.CONTROL if number in special else TokenType.NORMAL if number in by_id else TokenType.UNUSED
            for number in range(rows)
        ]
    )
    writer.add_token_merges(list(merges))
    writer.add_bos_token_id(config["bos_token_id"])
    writer.add_eos_token_id(_end_of_answer(folder))
    writer.add_pad_token_id(config["pad_token_id"])
    writer.add_add_bos_token(False)
    writer.add_chat_template((folder / "chat_template.jinja").read_text(encoding="utf-8"))


def gguf_name(name: str, config: dict[str, Any]) -> str:
    """`model.layers.0.self_attn.q_proj.weight` as `blk.0.attn_q.weight`."""
    from gguf import MODEL_ARCH, get_tensor_name_map

    known = get_tensor_name_map(MODEL_ARCH.LLAMA, config["num_hidden_layers"])
    found = known.get_name(name, try_suffixes=(".weight",))
    if found is None:
        raise KeyError(f"{name} has no name in GGUF")
    return str(found)


def values(tensor: StoredTensor, config: dict[str, Any]) -> npt.NDArray[Any]:
    """The tensor as llama.cpp expects it."""
    import torch

    whole: npt.NDArray[Any] = torch.cat(list(tensor.blocks())).reshape(tensor.shape).numpy().astype(_dtype(tensor))
    for part, heads in (("q_proj", config["num_attention_heads"]), ("k_proj", config["num_key_value_heads"])):
        if f".{part}." in tensor.name:
            whole = neighbouring(whole, heads)
    return whole


def neighbouring(rows: npt.NDArray[Any], heads: int) -> npt.NDArray[Any]:
    """Rows of a head in the order 0, d/2, 1, d/2 + 1 …: what was rotated as halves is rotated as neighbours."""
    halves = rows.reshape(heads, 2, rows.shape[0] // heads // 2, *rows.shape[1:])
    return halves.swapaxes(1, 2).reshape(rows.shape).copy()


def _dtype(tensor: StoredTensor) -> np.dtype[Any]:
    import numpy as np

    return np.dtype(np.float32 if len(tensor.shape) == 1 else np.float16)


def _end_of_answer(folder: Path) -> int:
    """Where generation stops: the end of a message for the Instruct head, of a document for the base."""
    ends = read_json(folder / "generation_config.json")["eos_token_id"]
    return int(ends[0] if isinstance(ends, list) else ends)
