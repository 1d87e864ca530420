"""Upload a published folder to a repository on the Hugging Face hub. The pipeline never does this by itself.

The folder's checksums are verified first, then the folder is signed, and the signature is uploaded with it
(`model.sig`, `signing-key.pub`). The token is HF_TOKEN or that of `hf auth login`; HF_ENDPOINT names another hub.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from gptoss.core import checksums, paths
from gptoss.core.errors import ClusterError, DataError, UserError
from gptoss.core.process import set_quiet_env
from gptoss.registry import signature


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--repo", required=True, metavar="OWNER/NAME", help="created if it does not exist, private")
    parser.add_argument("--model", type=Path, help="a published folder; default: the base model of params.yaml")
    parser.add_argument("--public", action="store_true", help="make a new repository public")


def execute(options: argparse.Namespace) -> None:
    """Verify and upload."""
    # The only command that is meant to use the hub: set before `set_quiet_env`, which would turn the network off.
    os.environ.setdefault("HF_HUB_OFFLINE", "0")
    set_quiet_env()
    push(options.model, options.repo, private=not options.public)


def push(folder: Path | None, repo: str, *, private: bool = True) -> None:
    """Upload `folder` in one commit.

    Errors: `UserError` for an invalid repository name or a folder that is not published, `DataError` when the bytes
    differ from the signed ones, `ClusterError` when the hub refuses or does not answer.
    """
    # The hub client reads HF_HUB_OFFLINE when it is imported.
    from httpx import HTTPError
    from huggingface_hub import CommitOperationAdd, HfApi
    from huggingface_hub.errors import HFValidationError

    from gptoss.config.settings import load_settings

    folder = folder or paths.published(load_settings().name, "base")
    if not (folder / checksums.CHECKSUMS).exists():
        raise UserError(f"{folder} is not a published folder", "run `make run` first, or name one with --model")
    # What is uploaded must be what was published and measured; at most five names, as a wrong folder differs in all.
    if differing := checksums.differing(folder):
        names = ", ".join(differing[:5])
        raise DataError(f"{folder}: {names} does not match {checksums.CHECKSUMS}", "publish it again")
    key = signature.sign(folder)
    files = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
    # The signature is kept beside the folder, since it covers the folder's files; in the repository it is one of them.
    files |= {
        "model.sig": signature.signature_path(folder),
        signature.PUBLIC_KEY: folder.with_name(signature.PUBLIC_KEY),
    }
    api = HfApi()
    try:
        # `exist_ok`: pushing again adds a commit to the same repository. An existing one keeps its visibility.
        api.create_repo(repo, private=private, exist_ok=True)
        commit = api.create_commit(  # one commit: a reader never finds half of the files
            repo,
            [CommitOperationAdd(path_in_repo=name, path_or_fileobj=path) for name, path in files.items()],
            commit_message=f"{folder.name}, signed by the key {key[:16]}",
        )
    except HFValidationError as error:
        raise UserError(f"--repo {repo}: {error}", "write OWNER/NAME") from None
    # OSError: files that cannot be read, and broken connections.
    except (HTTPError, OSError) as error:
        raise ClusterError(
            f"{api.endpoint} did not accept {folder}: {error}",
            "check the token (HF_TOKEN, or `hf auth login`) and its right to write; the same command continues",
        ) from None
    print(commit.commit_url)
