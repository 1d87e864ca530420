"""The tokenizer as a folder that `AutoTokenizer.from_pretrained` loads without a model's configuration.

The configuration is written here and not by `save_pretrained`, so that its bytes depend on the arguments alone, not on
the version of transformers. Its class is `PreTrainedTokenizerFast`, which uses `tokenizer.json` unchanged in every
transformers since 4.0. `LlamaTokenizer`, which usually accompanies the architecture, would replace the pre-tokenizer
and drop the spaces of a byte-level vocabulary.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from gptoss.config.tokenizer import END_OF_TEXT, PADDING
from gptoss.core.atomic_files import write_json
from gptoss.core.errors import DataError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

# ChatML. `{% generation %}` marks what the assistant writes, including its `<|im_end|>`. The assistant's text is
# trimmed, because a token that spans the boundary of the marked text would be masked wrongly. `instruct` adds its
# system prompt to the template (`gptoss/finetune/chat_template.py`).
CHAT_TEMPLATE = Path(__file__).with_name("chat_template.jinja")
# Every file that a tokenizer folder may hold; those of open models hold more of them than ours.
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", CHAT_TEMPLATE.name)


def write(folder: Path, tokenizer: Tokenizer, context: int) -> None:
    """Write `tokenizer.json`, `tokenizer_config.json` and `chat_template.jinja`; `context` is in tokens."""
    (folder / "tokenizer.json").write_text(tokenizer.to_str(pretty=True), encoding="utf-8")
    write_json(
        folder / "tokenizer_config.json",
        {
            "tokenizer_class": "PreTrainedTokenizerFast",
            # One separator both opens and closes a document, as in GPT-2.
            "bos_token": END_OF_TEXT,
            "eos_token": END_OF_TEXT,
            "pad_token": PADDING,
            "additional_special_tokens": special_tokens_by_id(tokenizer)[2:],
            "model_max_length": context,
            # The clean-up of transformers 4 removes spaces before punctuation when it decodes.
            "clean_up_tokenization_spaces": False,
        },
    )
    shutil.copyfile(CHAT_TEMPLATE, folder / CHAT_TEMPLATE.name)


def special_tokens_by_id(tokenizer: Tokenizer) -> list[str]:
    """Return `SPECIAL_TOKENS` and the extra ones, ordered by id from 0."""
    added = tokenizer.get_added_tokens_decoder()
    return [added[number].content for number in sorted(added)]


def read(folder: Path) -> Tokenizer:
    """Load a tokenizer for documents: "<|im_end|>" in a text is encoded as ordinary characters."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.encode_special_tokens = True
    return tokenizer


def copy(source: Path, target: Path) -> None:
    """Copy the tokenizer files unchanged. Errors: `DataError` when `source` holds no tokenizer."""
    if not (source / "tokenizer.json").exists():
        raise DataError(f"{source} holds no tokenizer", "run `dvc repro tokenizer`")
    for path in tokenizer_files(source):
        shutil.copyfile(path, target / path.name)


def tokenizer_files(folder: Path) -> list[Path]:
    """Return the tokenizer files that exist in `folder`."""
    return [folder / name for name in TOKENIZER_FILES if (folder / name).exists()]
