"""Virtual environments for the peers of a benchmark: one per peer, made by pip from pinned requirements and reused."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path


def environment(folder: Path, requirements: Sequence[str]) -> Path | None:
    """Return the Python of an environment with exactly these requirements; create the environment if it is missing.

    Returns None, with the reason on stderr, when pip cannot install them.
    """
    python, marker = folder / "bin" / "python", folder / "requirements.txt"
    wanted = "\n".join(requirements)
    if marker.exists() and marker.read_text() == wanted:
        return python
    # Other requirements than last time: start again, because pip would leave packages that are no longer required.
    shutil.rmtree(folder, ignore_errors=True)
    print(f"{folder.name}: installing {' '.join(requirements)}", file=sys.stderr)
    installed = _run([sys.executable, "-m", "venv", str(folder)]) and _run(
        [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *requirements]
    )
    if not installed:
        print(f"{folder.name}: installation failed, so this peer is left out of the comparison", file=sys.stderr)
        shutil.rmtree(folder, ignore_errors=True)
        return None
    # Written last: an environment whose installation was interrupted has no marker and is made again.
    marker.write_text(wanted)
    return python


def _run(command: Sequence[str]) -> bool:
    """True if a command succeeds; otherwise prints the end of its output to stderr."""
    completed = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if completed.returncode:
        print("\n".join(completed.stdout.strip().splitlines()[-5:]), file=sys.stderr)
    return completed.returncode == 0
