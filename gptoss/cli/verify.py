"""Recompute every hash from a registry version back to the raw files, and check the maker's signature.

The same as `gptoss lineage --verify`; by default of the champion of the base model of params.yaml.
"""

from __future__ import annotations

import argparse

from gptoss.core.process import set_quiet_env


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", nargs="?", help="NAME@ALIAS or NAME/VERSION; default: the base model's champion")


def execute(options: argparse.Namespace) -> None:
    """Verify, and print the tree."""
    from gptoss.config.settings import load_settings
    from gptoss.registry.lineage import show
    from gptoss.registry.versions import registry_name

    set_quiet_env()
    # The base model: the version that a user of `make run` looks at first.
    show(options.model or f"{registry_name(load_settings().name, 'base')}@champion", verify=True)
