"""Lists of domains and words."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from gptoss.core.errors import DataError, PipelineError
from gptoss.quality.word_lists import read_list


def test_a_list_is_checked(tmp_path: Path) -> None:
    file = tmp_path / "words"
    file.write_bytes("\ufeffone\r\n\n# no\n two words \n".encode())
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    assert read_list(f"{file}#sha256={digest}") == ["one", "two words"]
    with pytest.raises(DataError, match="pins"):
        read_list(f"{file}#sha256={'0' * 64}")
    with pytest.raises(PipelineError, match="does not exist"):
        read_list(f"{file}.absent")
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(DataError, match="not UTF-8"):
        read_list(str(file))
