"""Serve the Prefect and MLflow pages on loopback until Ctrl-C.

Both read the SQLite databases in the checkout, so every earlier run is shown, and a pipeline started while they run
can be watched live. `GPTOSS_PREFECT_PORT` and `GPTOSS_MLFLOW_PORT` choose other ports.
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import subprocess
import sys
import time

from gptoss.core.atomic_files import write_json
from gptoss.core.errors import ClusterError
from gptoss.pipeline import prefect_environment
from gptoss.pipeline.prefect_environment import answers
from gptoss.tracking.mlflow_client import tracking_uri

PORTS = {"prefect": 4200, "mlflow": 5000}
# Both servers migrate their databases at the first start, which takes tens of seconds on a slow disk.
START_SECONDS = 120.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """This command has no options."""


def execute(_: argparse.Namespace) -> None:
    """Start both servers, wait until they answer, print their addresses, and serve until interrupted.

    Errors: `ClusterError` for a port that is in use or a server that does not start.
    """
    # The same database as the runs of this checkout.
    prefect_environment.prepare()
    ports = {name: int(os.environ.get(f"GPTOSS_{name.upper()}_PORT", port)) for name, port in PORTS.items()}
    for name, port in ports.items():
        _require_free(name, port)
    servers = [
        subprocess.Popen([sys.executable, "-m", *command, "--host", "127.0.0.1", "--port", str(ports[name])],
                         stdout=subprocess.DEVNULL)
        for name, command in (
            ("prefect", ["prefect", "server", "start"]),
            # One worker is enough for one person, and SQLite allows one writer.
            ("mlflow", ["mlflow", "server", "--workers", "1", "--backend-store-uri", tracking_uri(),
                        "--default-artifact-root", "mlruns"]),
        )
    ]  # fmt: skip
    addresses = {name: f"http://127.0.0.1:{port}" for name, port in ports.items()}
    # SIGTERM becomes SystemExit, so that the `finally` below runs and leaves neither a server nor a stale address.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        _wait_until_up(addresses, servers)
        write_json(prefect_environment.UI_STATE, addresses)
        print("\n".join(f"{name:<8} {url}" for name, url in addresses.items()) + "\nCtrl-C ends both", flush=True)
        for server in servers:
            server.wait()
    finally:
        prefect_environment.UI_STATE.unlink(missing_ok=True)
        for server in servers:  # ask both before waiting for either
            server.terminate()
        for server in servers:
            server.wait()


def _require_free(name: str, port: int) -> None:
    with socket.socket() as probe:
        # Asked here, since Prefect and MLflow would fail with a traceback, one of them after the other has started.
        if probe.connect_ex(("127.0.0.1", port)) == 0:
            raise ClusterError(
                f"port {port} for {name} is in use",
                f"stop the program that listens there, or set GPTOSS_{name.upper()}_PORT",
            )


def _wait_until_up(addresses: dict[str, str], servers: list[subprocess.Popen[bytes]]) -> None:
    deadline = time.monotonic() + START_SECONDS
    health = [addresses["prefect"] + "/api/health", addresses["mlflow"] + "/health"]
    while not all(answers(url) for url in health):
        if any(server.poll() is not None for server in servers) or time.monotonic() > deadline:
            raise ClusterError(
                "a server did not start", "see its messages above; another program may hold the database"
            )
        # Both need several seconds; asking more often gains nothing.
        time.sleep(0.5)
