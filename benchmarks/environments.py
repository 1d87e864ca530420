"""Each peer of a benchmark in a virtual environment of its own, made by pip from pinned requirements and kept."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path


def environment(folder: Path, requirements: Sequence[str]) -> Path | None:
    """The Python of an environment with exactly these requirements installed; made first if it is not there. None,
    with the reason on stderr, when pip cannot install them."""
    python, marker = folder / "bin" / "python", folder / "requirements.txt"
    wanted = "\n".join(requirements)
    if marker.exists() and marker.read_text() == wanted:
        return python
    shutil.rmtree(folder, ignore_errors=True)
    print(f"{folder.name}: installing {' '.join(requirements)}", file=sys.stderr)
    made = _said([sys.executable, "-m", "venv", str(folder)]) and _said(
        [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *requirements]
    )
    if not made:
        print(f"{folder.name}: could not be installed, so nothing is compared with it", file=sys.stderr)
        shutil.rmtree(folder, ignore_errors=True)
        return None
    marker.write_text(wanted)
    return python


def _said(command: Sequence[str]) -> bool:
    """Whether a command succeeds; its last words on stderr when it does not."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        print("\n".join(done.stdout.strip().splitlines()[-5:]), file=sys.stderr)
    return done.returncode == 0
