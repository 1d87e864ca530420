"""Where Prefect and MLflow keep their state: in the checkout, on loopback, without telemetry.

Must be applied before `prefect` is imported, which reads its settings from the environment then.
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

# Addresses of the servers that `gptoss ui` started, while they run.
UI_STATE = paths.RUNS / "ui.json"


def prepare() -> None:
    """Set what the environment does not set yet: Prefect's home in the checkout, telemetry off, and the server of
    `gptoss ui` if it answers.

    Errors: `ClusterError` when `PREFECT_API_URL` names a server that does not answer.
    """
    defaults = QUIET | {
        # In the checkout, not in ~/.prefect: runs of two checkouts never share a database.
        "PREFECT_HOME": str(Path(".prefect").resolve()),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_CLOUD_ENABLE_ORCHESTRATION_TELEMETRY": "false",
        "PREFECT_LOGGING_LEVEL": "INFO",
        "PREFECT_LOGGING_SERVER_LEVEL": "ERROR",
        # The first start migrates a database; the default of 20 s is too short for a busy machine or a slow disk.
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
        # With exponential waits about half an hour, in which a stage continues though the server is down.
        "PREFECT_CLIENT_MAX_RETRIES": "10",
        # A stage's result is its outputs in DVC; a pickled copy of a state would only fill the disk.
        "PREFECT_RESULTS_PERSIST_BY_DEFAULT": "false",
    }
    for variable, value in defaults.items():
        os.environ.setdefault(variable, value)
    url = os.environ.get("PREFECT_API_URL")
    if url and not listens(f"{url}/health"):  # otherwise Prefect would retry for half an hour before it failed
        raise ClusterError(
            f"no Prefect server answers at PREFECT_API_URL={url}",
            "start it, unset PREFECT_API_URL to use a temporary server, or run `dvc repro`, which needs none",
        )
    server = running_ui().get("prefect")
    if server:
        os.environ.setdefault("PREFECT_API_URL", f"{server}/api")


def running_ui() -> dict[str, str]:
    """`{"prefect": URL, "mlflow": URL}` of the servers that `gptoss ui` started and that answer: a server
    that was killed leaves its address in the file."""
    if not UI_STATE.exists():
        return {}
    addresses: dict[str, str] = json.loads(UI_STATE.read_text())
    health = {"prefect": "/api/health", "mlflow": "/health"}
    return {name: url for name, url in addresses.items() if answers(url + health[name])}


def answers(url: str) -> bool:
    """Whether a GET of a loopback address succeeds within two seconds."""
    # Without the proxy of the environment, which cannot reach loopback.
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with direct.open(url, timeout=2) as response:
            return bool(response.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def listens(url: str) -> bool:
    """Whether anything answers at an address; a refusal (such as a missing login) counts as an answer."""
    try:
        with urllib.request.urlopen(url, timeout=10):
            return True
    except urllib.error.HTTPError:
        return True
    except (urllib.error.URLError, OSError):
        return False
