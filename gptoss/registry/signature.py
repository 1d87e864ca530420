"""The maker's signature over a published folder, by OpenSSF Model Signing (v1.0, `pip install model-signing`).

The signature is a file beside the folder, `gpt-oss/NAME.sig`: a Sigstore bundle whose in-toto statement lists the
SHA-256 of every file, `checksums.sha256` among them, signed with an elliptic-curve key. It is no part of the folder:
a signature is different every time and with every key, the folder is a pure function of its inputs.

The key is `GPTOSS_SIGNING_KEY` (a PEM file, P-256, P-384 or P-521, without a password), or one made for this checkout
the first time, `.keys/model-signing.pem`, which git ignores. Keyless signing needs the network and an account, so it
is left to `python -m model_signing sign sigstore`.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path
from typing import Any

from gptoss.core.atomic_files import atomic_file
from gptoss.core.errors import DataError, UserError

KEY_VARIABLE = "GPTOSS_SIGNING_KEY"
CHECKOUT_KEY = Path(".keys/model-signing.pem")
PUBLIC_KEY = "signing-key.pub"
"""Beside the signature: says which key it was. That it is the maker's must be learned another way."""


def signature_path(folder: Path) -> Path:
    """Where the signature of a published folder is."""
    return folder.with_name(f"{folder.name}.sig")


def signing_key() -> Path:
    """The private key, made and kept (mode 0600) when there is none. Raises `UserError` when the one named by
    `GPTOSS_SIGNING_KEY` is missing."""
    named = os.environ.get(KEY_VARIABLE)
    if named and not Path(named).is_file():
        raise UserError(f"{KEY_VARIABLE} names {named}, which is no file", f"correct it, or unset {KEY_VARIABLE}")
    if named:
        return Path(named)
    if not CHECKOUT_KEY.exists():
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ec

        key = ec.generate_private_key(ec.SECP256R1()).private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        CHECKOUT_KEY.parent.mkdir(mode=0o700, exist_ok=True)
        with atomic_file(CHECKOUT_KEY) as partial:
            partial.touch(mode=0o600)
            partial.write_bytes(key)
    return CHECKOUT_KEY


def public_key(private: Path) -> bytes:
    """The public half, PEM. Raises `UserError` for a file that holds no such key."""
    from cryptography.hazmat.primitives import serialization

    try:
        key = serialization.load_pem_private_key(private.read_bytes(), password=None)
    except (ValueError, TypeError) as error:
        raise UserError(
            f"{private} holds no usable private key: {error}",
            f"name a PEM file without a password in {KEY_VARIABLE} (`openssl ecparam -name prime256v1 -genkey -noout`)",
        ) from None
    return key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def fingerprint(public: bytes) -> str:
    """SHA-256 of the public key's PEM text, hex: what the signature itself names its key by."""
    return hashlib.sha256(public).hexdigest()


def is_own(found: str) -> bool:
    """Whether a fingerprint is that of the key this checkout signs with."""
    private = Path(os.environ.get(KEY_VARIABLE) or CHECKOUT_KEY)
    return private.is_file() and fingerprint(public_key(private)) == found


def sign(folder: Path) -> str:
    """Write the signature and the public key beside `folder`; returns the key's fingerprint. A signature that holds
    already, by the same key, is kept."""
    from model_signing import signing

    private = signing_key()
    public = public_key(private)
    with atomic_file(folder.with_name(PUBLIC_KEY)) as partial:
        partial.write_bytes(public)
    try:
        return verify(folder, signature_path(folder), folder.with_name(PUBLIC_KEY))
    except DataError:  # none yet, or of other bytes or another key
        pass
    try:
        config = signing.Config().use_elliptic_key_signer(private_key=private)
    except ValueError as error:
        raise UserError(f"{private}: {error}", "use a key on the curve P-256, P-384 or P-521") from None
    with atomic_file(signature_path(folder)) as partial:
        config.set_hashing_config(_every_file()).sign(folder, partial)
    return fingerprint(public)


def verify(folder: Path, signature: Path, public: Path) -> str:
    """Recompute every hash of `folder` and check the signature; returns the key's fingerprint. Raises `DataError`
    naming the files that differ, or what is wrong with the signature."""
    from model_signing import verifying

    for path in (folder, signature, public):
        if not path.exists():
            raise DataError(f"{path} does not exist", "run `dvc repro register`, which signs what it registers")
    config = verifying.Config().use_elliptic_key_verifier(public_key=public)
    try:
        config.set_hashing_config(_every_file()).verify(folder, signature)
    except Exception as error:  # model_signing, cryptography and pydantic each raise their own
        raise DataError(
            f"{signature} is no signature of {folder} by the key {fingerprint(public.read_bytes())[:16]}: {error!r}",
            "get the folder again from its maker; if you changed it on purpose, run `dvc repro register`",
        ) from None
    return fingerprint(public.read_bytes())


def copy_beside(folder: Path, target: Path) -> None:
    """Copy the signature of `folder` and its key into `target`, as `model.sig` and `signing-key.pub`."""
    shutil.copyfile(signature_path(folder), target / "model.sig")
    shutil.copyfile(folder.with_name(PUBLIC_KEY), target / PUBLIC_KEY)


def _every_file() -> Any:
    """How to hash: every file below the folder, hidden ones too; DVC may have put links there."""
    from model_signing import hashing

    return hashing.Config().set_allow_symlinks(True).set_ignored_paths(paths=[], ignore_git_paths=False)
