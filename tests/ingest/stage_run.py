"""Runs the stage `ingest` over the source `sample`, in this process or in another one."""

from __future__ import annotations

import bz2
import os
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gptoss.config.settings import Settings
from gptoss.core import paths
from gptoss.tracking.mlflow_run import StageRun
from stages.ingest import ingest
from tests.conftest import ROOT
from tests.raw_files import dump, page, prose

MakeSettings = Callable[..., Settings]


OUTPUT = paths.documents("sample")


def run(settings: Settings) -> Any:
    return ingest(settings, StageRun("ingest@sample"), "sample")


def article_dumps(count: int, pages: int = 4) -> dict[str, bytes]:
    """`raw/00.xml.bz2` …, each with distinct articles."""
    return {
        f"raw/{number:02d}.xml.bz2": bz2.compress(
            dump(*(page(f"A{number}-{i}", number * 100 + i + 1, prose(number * 100 + i, 60)) for i in range(pages)))
        )
        for number in range(count)
    }


def put(files: dict[str, bytes], folder: Path = Path()) -> None:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)


def output_bytes(folder: Path = Path()) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((folder / OUTPUT).iterdir())}


PROGRAM = textwrap.dedent(
    """
    import sys
    from pathlib import Path
    from gptoss.config.yaml_sections import check, load_yaml
    from gptoss.config.settings import Settings
    from gptoss.core.process import exit_code_of
    from gptoss.ingest import task_groups
    from gptoss.tracking.mlflow_run import StageRun
    from stages.ingest import ingest

    task_groups.MAX_FILES = 2
    values = load_yaml(Path(sys.argv[1]))
    values["sources"] = {"sample": {"format": "mediawiki", "urls": sys.argv[2:], "license": "L", "language": "en"}}
    values["ingest"]["documents_per_file"] = 50
    settings = check(Settings, values, origin="test")
    sys.exit(exit_code_of(lambda: ingest(settings, StageRun("ingest@sample"), "sample")))
    """
)


def command(*urls: str) -> list[str]:
    return [sys.executable, "-c", PROGRAM, str(ROOT / "profiles" / "tiny.yaml"), *urls]


def environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
