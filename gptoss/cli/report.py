"""Render the report and the data page again from `reports/facts.json` and from what MLflow knows of the runs."""

from __future__ import annotations

import argparse

from gptoss.core.process import set_quiet_env


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """This command has no options."""


def execute(_: argparse.Namespace) -> None:
    """Write the pages and print their paths."""
    set_quiet_env()

    from gptoss.config.settings import load_settings
    from gptoss.report.render import FIGURES, render

    for path in render(load_settings()):
        if path.parent != FIGURES:
            print(path)
