"""The evaluation files of the checkout in a working directory of a test."""

from __future__ import annotations

from pathlib import Path

from tests.conftest import ROOT


def link_evals(folder: Path, *, pinned: bool = False) -> None:
    """Link what `evals/` holds. Without `pinned` nothing is held to a content: the mirrors of most tests are made of
    the project's own items."""
    (folder / "evals").mkdir()
    for path in (ROOT / "evals").iterdir():
        if path.name != "pins.yaml" or pinned:
            (folder / "evals" / path.name).symlink_to(path)
    if not pinned:
        (folder / "evals" / "pins.yaml").write_text("splits: {}\n")
