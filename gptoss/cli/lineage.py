"""Print the chain from a registry version back to the raw bytes.

Reads the registry version and the `dvc.lock` that `register` sealed with it. Prints a tree of stages with the hash of
every input, the MLflow run that made them, and the raw files at the leaves. `--verify` recomputes every hash from the
bytes (DVC's cache, the workspace or the git commit, the raw files), checks the maker's signature, and fails when one
does not match.
"""

from __future__ import annotations

import argparse

from gptoss.core.process import set_quiet_env


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", help="NAME@ALIAS or NAME/VERSION, such as gpt-oss-tiny@champion")
    parser.add_argument("--verify", action="store_true", help="recompute every hash from the bytes")


def execute(options: argparse.Namespace) -> None:
    """Print the tree."""
    from gptoss.registry.lineage import show

    set_quiet_env()
    show(options.model, verify=options.verify)
