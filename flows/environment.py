"""Where Prefect and MLflow keep their state: in the checkout, on loopback, without telemetry.

Must be applied before `prefect` is imported, which reads its settings from the environment.
"""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.request
from pathlib import Path

from stages import paths
from stages.entry import QUIET

UI_STATE = paths.RUNS / "ui.json"
"""Addresses of the servers that `make ui` started, while they run."""


def prepare() -> None:
    """Set what is not set yet: Prefect's home in the checkout, telemetry off, the server of `make ui` if it answers."""
    defaults = QUIET | {
        "PREFECT_HOME": str(Path(".prefect").resolve()),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_CLOUD_ENABLE_ORCHESTRATION_TELEMETRY": "false",
        "PREFECT_LOGGING_LEVEL": "INFO",
        "PREFECT_LOGGING_SERVER_LEVEL": "ERROR",
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
        "PREFECT_RESULTS_PERSIST_BY_DEFAULT": "false",
    }
    for variable, value in defaults.items():
        os.environ.setdefault(variable, value)
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
