"""The tokenizer as a folder that `AutoTokenizer.from_pretrained` loads, without a model's configuration.

The configuration is written here rather than by `save_pretrained`, so that its bytes depend on nothing but
the arguments. It names the class `PreTrainedTokenizerFast`, which takes `tokenizer.json` as it stands, in
every transformers since 4.0. `LlamaTokenizer`, the usual companion of the architecture, would replace the
pre-tokenizer and drop the spaces of a byte-level vocabulary.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from gptoss.config.tokenizer import PADDING, SEPARATOR
from gptoss.core.atomic_files import write_json

if TYPE_CHECKING:
    from tokenizers import Tokenizer

CHAT_TEMPLATE = Path(__file__).with_name("chat_template.jinja")
"""ChatML. `{% generation %}` marks what the assistant writes, its `<|im_end|>` included. The assistant's text is
trimmed, so that no token begins outside of it and ends inside."""


def write(folder: Path, tokenizer: Tokenizer, context: int) -> None:
    """Write `tokenizer.json`, `tokenizer_config.json` and `chat_template.jinja`; `context` in tokens."""
    (folder / "tokenizer.json").write_text(tokenizer.to_str(pretty=True), encoding="utf-8")
    write_json(
        folder / "tokenizer_config.json",
        {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "bos_token": SEPARATOR,
            "eos_token": SEPARATOR,
            "pad_token": PADDING,
            "additional_special_tokens": control_tokens(tokenizer)[2:],
            "model_max_length": context,
            "clean_up_tokenization_spaces": False,
        },
    )
    shutil.copyfile(CHAT_TEMPLATE, folder / CHAT_TEMPLATE.name)


def control_tokens(tokenizer: Tokenizer) -> list[str]:
    """`SPECIAL_TOKENS` and the extra ones, in the order of their ids, which start at 0."""
    added = tokenizer.get_added_tokens_decoder()
    return [added[number].content for number in sorted(added)]


def read(folder: Path) -> Tokenizer:
    """The tokenizer of a folder, for text that people wrote: it spells "<|im_end|>" out instead of obeying it."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.encode_special_tokens = True
    return tokenizer
