"""The signature of a folder, verified with the package that users of the model have."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from gptoss.core.errors import DataError, UserError
from gptoss.registry import signature


@pytest.fixture
def folder(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv(signature.KEY_VARIABLE, raising=False)
    folder = Path("gpt-oss/toy")
    (folder / "adapter").mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(b"weights")
    (folder / "adapter" / "adapter_config.json").write_text("{}")
    (folder / "checksums.sha256").symlink_to(Path("model.safetensors"))  # as DVC may link
    return folder


def verified(folder: Path) -> str:
    return signature.verify(folder, signature.signature_path(folder), folder.with_name(signature.PUBLIC_KEY))


def test_a_key_is_created_once_readable_by_its_owner_and_signs(folder: Path) -> None:
    made = signature.sign(folder)
    assert verified(folder) == made
    assert signature.CHECKOUT_KEY.stat().st_mode & 0o777 == 0o600
    kept = signature.signature_path(folder).read_bytes()
    assert signature.sign(folder) == made
    assert signature.signature_path(folder).read_bytes() == kept
    assert sorted(path.name for path in folder.iterdir()) == ["adapter", "checksums.sha256", "model.safetensors"]


def test_users_verify_a_copy_with_the_package_alone(folder: Path) -> None:
    signature.sign(folder)
    copied = shutil.copytree(folder, "elsewhere")
    command = [
        sys.executable, "-m", "model_signing", "verify", "key", str(copied), "--signature", "gpt-oss/toy.sig",
        "--public_key", "gpt-oss/signing-key.pub",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (Path(copied) / "adapter" / "adapter_config.json").write_text("{ }")
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode != 0
    assert "adapter/adapter_config.json" in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda folder: (folder / "model.safetensors").write_bytes(b"others"), "model.safetensors"),
        (lambda folder: (folder / "extra.py").write_text("x"), "extra.py"),
        (lambda folder: (folder / ".gitattributes").write_text("x"), ".gitattributes"),
        (lambda folder: (folder / "adapter" / "adapter_config.json").unlink(), "adapter/adapter_config.json"),
        (lambda folder: signature.signature_path(folder).write_text("{}"), "toy.sig"),
        (lambda folder: signature.signature_path(folder).unlink(), "toy.sig does not exist"),
    ],
)
def test_every_change_is_named(folder: Path, change: object, named: str) -> None:
    signature.sign(folder)
    change(folder)  # type: ignore[operator]
    with pytest.raises(DataError) as caught:
        verified(folder)
    assert named in caught.value.problem


def test_another_key_signs_again_and_the_old_one_no_longer_verifies(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = signature.sign(folder)
    old = shutil.copyfile("gpt-oss/signing-key.pub", "old.pub")
    shutil.move(signature.CHECKOUT_KEY, "mine.pem")
    signature.signing_key()
    shutil.move(signature.CHECKOUT_KEY, "other.pem")
    monkeypatch.setenv(signature.KEY_VARIABLE, "other.pem")
    second = signature.sign(folder)
    assert second == verified(folder) != first
    with pytest.raises(DataError, match=first[:16]):
        signature.verify(folder, signature.signature_path(folder), Path(old))


def test_a_file_that_is_not_a_key_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(signature.KEY_VARIABLE, "absent.pem")
    with pytest.raises(UserError, match=r"GPTOSS_SIGNING_KEY names absent\.pem, which is not a file"):
        signature.sign(folder)
    Path("absent.pem").write_text("no key")
    with pytest.raises(UserError, match=r"absent\.pem holds no usable private key"):
        signature.sign(folder)
