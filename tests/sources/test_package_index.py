"""pip's configuration as the pipeline reads it."""

from __future__ import annotations

from pathlib import Path

import pytest

from gptoss.sources import package_index


def test_pip_options_have_pips_precedence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    configuration = tmp_path / "pip.conf"
    configuration.write_text(
        "[global]\nindex-url = https://one.example/simple\nextra-index-url =\n  https://two.example/simple\n"
        "  file:///three\ncert = /from/file.pem\n[install]\nindex-url = https://install.example/simple\n"
    )
    monkeypatch.setenv("PIP_CONFIG_FILE", str(configuration))
    for variable in ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS", "PIP_NO_INDEX"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("PIP_CERT", "/from/environment.pem")
    where = package_index.configured()
    assert where.indexes[0] == "https://install.example/simple"
    assert where.indexes[1:3] == ("https://two.example/simple", "file:///three")
    assert where.cert == "/from/environment.pem"
