"""Where Prefect and MLflow keep their state: in the checkout, on loopback, without telemetry.

Must be applied before `prefect` is imported, which reads its settings from the environment.
"""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.request
from pathlib import Path

from gptoss.core import paths
from gptoss.core.errors import ClusterError
from gptoss.core.process import QUIET

UI_STATE = paths.RUNS / "ui.json"
"""Addresses of the servers that `make ui` started, while they run."""


def prepare() -> None:
    """Set what is not set yet: Prefect's home in the checkout, telemetry off, the server of `make ui` if it answers.
    Raises `ClusterError` when `PREFECT_API_URL` names a server that is not there."""
    defaults = QUIET | {
        "PREFECT_HOME": str(Path(".prefect").resolve()),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_CLOUD_ENABLE_ORCHESTRATION_TELEMETRY": "false",
        "PREFECT_LOGGING_LEVEL": "INFO",
        "PREFECT_LOGGING_SERVER_LEVEL": "ERROR",
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
        "PREFECT_CLIENT_MAX_RETRIES": "10",  # about half an hour, while which a stage goes on
        "PREFECT_RESULTS_PERSIST_BY_DEFAULT": "false",
    }
    for variable, value in defaults.items():
        os.environ.setdefault(variable, value)
    named = os.environ.get("PREFECT_API_URL")
    if named and not listens(f"{named}/health"):
        raise ClusterError(
            f"no Prefect server answers at PREFECT_API_URL={named}",
            "start it, unset PREFECT_API_URL to use a temporary server, or run `dvc repro`, which needs none",
        )
    server = running_ui().get("prefect")
    if server:
        os.environ.setdefault("PREFECT_API_URL", f"{server}/api")


def running_ui() -> dict[str, str]:
    """`{"prefect": URL, "mlflow": URL}` of the servers `make ui` started, without those that do not answer."""
    if not UI_STATE.exists():
        return {}
    addresses: dict[str, str] = json.loads(UI_STATE.read_text())
    health = {"prefect": "/api/health", "mlflow": "/health"}
    return {name: url for name, url in addresses.items() if answers(url + health[name])}


def answers(url: str) -> bool:
    """Whether a GET of a loopback address succeeds within two seconds."""
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with direct.open(url, timeout=2) as response:
            return bool(response.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def listens(url: str) -> bool:
    """Whether anything answers at an address, were it with a refusal."""
    try:
        with urllib.request.urlopen(url, timeout=10):
            return True
    except urllib.error.HTTPError:
        return True
    except (urllib.error.URLError, OSError):
        return False
