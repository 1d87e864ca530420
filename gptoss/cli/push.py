"""Upload a published folder to a repository on the Hugging Face hub: `python -m gptoss.cli.push --repo OWNER/NAME`.

Never done by the pipeline. What is uploaded is what is here: the folder's checksums are verified first, it is
signed, and the signature goes with it (`model.sig`, `signing-key.pub`). The token is HF_TOKEN, or that of
`hf auth login`; HF_ENDPOINT names another hub.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from gptoss.core.errors import ClusterError, DataError, UserError
from gptoss.core.process import exit_code_of, set_quiet_env


def main(arguments: Sequence[str] | None = None) -> int:
    """Verify and upload; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m gptoss.cli.push", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repo", required=True, metavar="OWNER/NAME", help="made when it does not exist, private")
    parser.add_argument("--model", type=Path, help="a published folder; default: the base model of params.yaml")
    parser.add_argument("--public", action="store_true", help="make a new repository public")
    options = parser.parse_args(arguments)
    os.environ.setdefault("HF_HUB_OFFLINE", "0")  # the one command that is there to use the network
    set_quiet_env()
    return exit_code_of(lambda: push(options.model, options.repo, private=not options.public))


def push(folder: Path | None, repo: str, *, private: bool = True) -> None:
    """Upload `folder` in one commit. Raises `UserError` for a bad name or an unpublished model, `DataError` when the
    bytes are not those that were signed, `ClusterError` when the hub refuses or does not answer."""
    from httpx import HTTPError
    from huggingface_hub import CommitOperationAdd, HfApi
    from huggingface_hub.errors import HFValidationError

    from gptoss.config.settings import load_settings
    from gptoss.core import checksums, paths
    from gptoss.registry import signature

    folder = folder or paths.published(load_settings().name, "base")
    if not (folder / checksums.CHECKSUMS).exists():
        raise UserError(f"{folder} is not a published folder", "run `make run` first, or name one with --model")
    wrong = checksums.differing(folder)
    if wrong:
        raise DataError(f"{folder}: {', '.join(wrong[:5])} does not match {checksums.CHECKSUMS}", "publish it again")
    key = signature.sign(folder)
    files = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
    files |= {"model.sig": signature.signature_path(folder), signature.PUBLIC_KEY: folder.with_name(signature.PUBLIC_KEY)}
    api = HfApi()
    try:
        api.create_repo(repo, private=private, exist_ok=True)
        commit = api.create_commit(
            repo,
            [CommitOperationAdd(path_in_repo=name, path_or_fileobj=path) for name, path in files.items()],
            commit_message=f"{folder.name}, signed by the key {key[:16]}",
        )
    except HFValidationError as error:
        raise UserError(f"--repo {repo}: {error}", "write OWNER/NAME") from None
    except (HTTPError, OSError) as error:
        raise ClusterError(
            f"{api.endpoint} did not take {folder}: {error}",
            "check the token (HF_TOKEN, or `hf auth login`) and its right to write; the same command continues",
        ) from None
    print(commit.commit_url)


if __name__ == "__main__":
    sys.exit(main())
