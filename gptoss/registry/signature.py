"""The maker's signature over a published folder, by OpenSSF Model Signing (v1.0, `pip install model-signing`).

The signature is a file beside the folder, `gpt-oss/NAME.sig`: a Sigstore bundle whose in-toto statement lists the
SHA-256 of every file, including `checksums.sha256`, signed with an elliptic-curve key (ECDSA). It is not part of the
folder: every signature is different (ECDSA uses a random number), while the folder is a pure function of its inputs.

The key is `GPTOSS_SIGNING_KEY` (a PEM file, P-256, P-384 or P-521, without a password), or `.keys/model-signing.pem`,
which is created on first use and ignored by git. Keyless signing needs the network and an account, so it is left to
`python -m model_signing sign sigstore`.

References: https://github.com/sigstore/model-transparency.
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
# Written beside the signature to say which key made it. That the key is the maker's must be learned another way.
PUBLIC_KEY = "signing-key.pub"


def signature_path(folder: Path) -> Path:
    """Return where the signature of a published folder is stored."""
    return folder.with_name(f"{folder.name}.sig")


def sign(folder: Path) -> str:
    """Write signature and public key beside `folder`; returns the key's fingerprint.

    A valid signature by the same key is kept, so that registering again changes no file.
    """
    from model_signing import signing

    private = signing_key()
    public = public_key(private)
    with atomic_file(folder.with_name(PUBLIC_KEY)) as partial:
        partial.write_bytes(public)
    try:
        return verify(folder, signature_path(folder), folder.with_name(PUBLIC_KEY))
    except DataError:  # no signature yet, or one of other bytes or by another key
        pass
    try:
        config = signing.Config().use_elliptic_key_signer(private_key=private)
    except ValueError as error:
        raise UserError(f"{private}: {error}", "use a key on the curve P-256, P-384 or P-521") from None
    with atomic_file(signature_path(folder)) as partial:
        config.set_hashing_config(_hash_every_file()).sign(folder, partial)
    return fingerprint(public)


def verify(folder: Path, signature: Path, public: Path) -> str:
    """Recompute the hash of every file of `folder` and check the signature; returns the key's fingerprint.

    Errors: `DataError` naming the files that differ, or what is wrong with the signature.
    """
    from model_signing import verifying

    for path in (folder, signature, public):
        if not path.exists():
            raise DataError(f"{path} does not exist", "run `dvc repro register`, which signs what it registers")
    # model_signing compares hashes and file names in both directions: added and missing files fail as well.
    config = verifying.Config().use_elliptic_key_verifier(public_key=public)
    found = fingerprint(public.read_bytes())
    try:
        config.set_hashing_config(_hash_every_file()).verify(folder, signature)
    except Exception as error:  # model_signing, cryptography and pydantic each raise types of their own
        raise DataError(
            f"{signature} is not a signature of {folder} by the key {found[:16]}: {error!r}",
            "get the folder again from its maker; if you changed it on purpose, run `dvc repro register`",
        ) from None
    return found


def copy_beside(folder: Path, target: Path) -> None:
    """Copy the signature of `folder` and its key into `target`, as `model.sig` and `signing-key.pub`."""
    shutil.copyfile(signature_path(folder), target / "model.sig")
    shutil.copyfile(folder.with_name(PUBLIC_KEY), target / PUBLIC_KEY)


def signing_key() -> Path:
    """Return the private key, which is created (mode 0600) when there is none.

    Errors: `UserError` when `GPTOSS_SIGNING_KEY` names a file that does not exist.
    """
    if named := os.environ.get(KEY_VARIABLE):
        if not Path(named).is_file():
            raise UserError(
                f"{KEY_VARIABLE} names {named}, which is not a file", f"correct it, or unset {KEY_VARIABLE}"
            )
        return Path(named)
    if not CHECKOUT_KEY.exists():
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ec

        key = ec.generate_private_key(ec.SECP256R1()).private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        CHECKOUT_KEY.parent.mkdir(mode=0o700, exist_ok=True)
        with atomic_file(CHECKOUT_KEY) as partial:
            partial.touch(mode=0o600)  # before the content: the key must not be readable by others at any time
            partial.write_bytes(key)
    return CHECKOUT_KEY


def public_key(private: Path) -> bytes:
    """Return the public key as PEM. Errors: `UserError` for a file that holds no private key."""
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
    """Return the SHA-256 of the public key's PEM text in hex, which the signature itself uses to name its key."""
    return hashlib.sha256(public).hexdigest()


def is_own_key(key_fingerprint: str) -> bool:
    """Return whether this checkout signs with the key of this fingerprint."""
    private = Path(os.environ.get(KEY_VARIABLE) or CHECKOUT_KEY)
    return private.is_file() and fingerprint(public_key(private)) == key_fingerprint


def _hash_every_file() -> Any:
    """Hash every file below the folder, including hidden ones and git's, and follow the links that DVC may make."""
    from model_signing import hashing

    return hashing.Config().set_allow_symlinks(True).set_ignored_paths(paths=[], ignore_git_paths=False)
