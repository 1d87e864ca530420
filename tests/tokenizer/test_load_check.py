"""The mask of the assistant's tokens, and the check that requires it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from gptoss.core.errors import DataError
from gptoss.tokenizer import folder
from gptoss.tokenizer.load_check import assistant_texts, check_loads


@pytest.mark.parametrize("answer", ["4", "", "\n\nFour.", "   4\n", "1\n\n2", "?!\n", "\u200d\u0301", "<|im_start|>x"])
def test_the_mask_covers_the_assistant_and_nothing_else(loaded: Any, answer: str) -> None:
    chat = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "2+2?\n"},
        {"role": "assistant", "content": answer},
        {"role": "user", "content": "Sure?"},
        {"role": "assistant", "content": "Yes."},
    ]
    assert assistant_texts(loaded, chat) == [answer.strip() + "<|im_end|>", "Yes.<|im_end|>"]


def test_a_template_without_generation_marks_is_rejected(saved: Path, tmp_path: Path) -> None:
    shutil.copytree(saved, tmp_path, dirs_exist_ok=True)
    template = tmp_path / folder.CHAT_TEMPLATE.name
    template.write_text(template.read_text().replace("{%- generation %}", "").replace("{%- endgeneration %}", ""))
    with pytest.raises(DataError, match="under the assistant's mask"):
        check_loads(tmp_path, 256)
