"""Files are complete or absent, whatever happens while they are written."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gptoss.core.atomic_files import atomic_file, atomic_folder, read_json, write_json


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_json(path, {"old": 1})
    with pytest.raises(RuntimeError), atomic_file(path) as partial:
        partial.write_text("half")
        raise RuntimeError
    assert read_json(path) == {"old": 1}
    assert os.listdir(tmp_path) == ["a.json"]


def test_a_folder_is_replaced_as_a_whole(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    with atomic_folder(folder) as partial:
        (partial / "one").write_text("1")
    with pytest.raises(RuntimeError), atomic_folder(folder) as partial:
        (partial / "two").write_text("2")
        raise RuntimeError
    assert os.listdir(folder) == ["one"]
    with atomic_folder(folder) as partial:
        (partial / "three").write_text("3")
    assert os.listdir(folder) == ["three"]


def test_a_killed_writer_leaves_nothing_under_the_final_name(tmp_path: Path) -> None:
    code = (
        "import sys, time\nfrom pathlib import Path\nfrom gptoss.core.atomic_files import atomic_folder\n"
        "with atomic_folder(Path(sys.argv[1])) as partial:\n"
        "    (partial / 'half').write_text('x')\n    print('writing', flush=True)\n    time.sleep(60)\n"
    )
    folder = tmp_path / "out"
    process = subprocess.Popen([sys.executable, "-c", code, str(folder)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "writing\n"
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not folder.exists()
    with atomic_folder(folder) as partial:  # the next run removes the leftovers
        (partial / "whole").write_text("y")
    assert os.listdir(tmp_path) == ["out"]


def test_equal_values_have_equal_bytes(tmp_path: Path) -> None:
    write_json(tmp_path / "a", {"x": 1, "y": [1.5, None]})
    time.sleep(0.01)
    write_json(tmp_path / "b", json.loads('{"y": [1.5, null], "x": 1}'))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.skipif(os.geteuid() != 0 or sys.platform != "linux", reason="mounting a small tmpfs needs root on Linux")
def test_a_full_disk_gives_one_clear_message_and_keeps_the_old_file(tmp_path: Path) -> None:
    mount = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", tmp_path], capture_output=True, text=True
    )
    if mount.returncode != 0:
        pytest.skip(f"a tmpfs cannot be mounted here: {mount.stderr.strip()}")
    try:
        write_json(tmp_path / "kept.json", {"old": True})
        code = (
            "import sys\nfrom pathlib import Path\n"
            "from gptoss.core.process import exit_code_of\nfrom gptoss.core.atomic_files import write_text\n"
            "sys.exit(exit_code_of(lambda: write_text(Path(sys.argv[1]), 'x' * 1_000_000)))\n"
        )
        done = subprocess.run([sys.executable, "-c", code, tmp_path / "kept.json"], capture_output=True, text=True)
        assert done.returncode == 4
        assert "no space left on the device" in done.stderr
        assert "Traceback" not in done.stderr
        assert read_json(tmp_path / "kept.json") == {"old": True}
        assert os.listdir(tmp_path) == ["kept.json"]
    finally:
        subprocess.run(["umount", tmp_path], check=True)
