"""The two web pages, on loopback: `python -m gptoss.cli.ui` starts Prefect's and MLflow's servers until Ctrl-C.

Both read the SQLite databases in the checkout, so every earlier run is there; a pipeline that starts while they
run is watched live.
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence

from gptoss.core.errors import ClusterError
from gptoss.core.process import exit_code_of

PORTS = {"prefect": 4200, "mlflow": 5000}
START_SECONDS = 120.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until interrupted; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m gptoss.cli.ui", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.parse_args(arguments)
    return exit_code_of(serve)


def serve() -> None:
    """Start both servers, wait until they answer, say where they are. Raises `ClusterError` for a taken port."""
    from gptoss.core.atomic_files import write_json
    from gptoss.pipeline import prefect_environment
    from gptoss.tracking.mlflow_run import tracking_uri

    prefect_environment.prepare()
    ports = {name: int(os.environ.get(f"GPTOSS_{name.upper()}_PORT", port)) for name, port in PORTS.items()}
    for name, port in ports.items():
        _require_free(name, port)
    servers = [
        subprocess.Popen(_prefect_command(ports["prefect"]), stdout=subprocess.DEVNULL),
        subprocess.Popen(_mlflow_command(ports["mlflow"], tracking_uri()), stdout=subprocess.DEVNULL),
    ]
    addresses = {name: f"http://127.0.0.1:{port}" for name, port in ports.items()}
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        _wait_until_up(addresses, servers)
        write_json(prefect_environment.UI_STATE, addresses)
        print("\n".join(f"{name:<8} {url}" for name, url in addresses.items()) + "\nCtrl-C ends both", flush=True)
        for server in servers:
            server.wait()
    finally:
        prefect_environment.UI_STATE.unlink(missing_ok=True)
        for server in servers:
            server.terminate()
        for server in servers:
            server.wait()


def _prefect_command(port: int) -> list[str]:
    return [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]


def _mlflow_command(port: int, uri: str) -> list[str]:
    return [
        sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1",
        "--backend-store-uri", uri, "--default-artifact-root", "mlruns",
    ]  # fmt: skip


def _require_free(name: str, port: int) -> None:
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", port)) == 0:
            raise ClusterError(
                f"port {port} for {name} is in use", f"end what listens there, or set GPTOSS_{name.upper()}_PORT"
            )


def _wait_until_up(addresses: dict[str, str], servers: list[subprocess.Popen[bytes]]) -> None:
    from gptoss.pipeline.prefect_environment import answers

    deadline = time.monotonic() + START_SECONDS
    health = [addresses["prefect"] + "/api/health", addresses["mlflow"] + "/health"]
    while not all(answers(url) for url in health):
        if any(server.poll() is not None for server in servers) or time.monotonic() > deadline:
            raise ClusterError(
                "a server did not start", "see its messages above; another program may hold the database"
            )
        time.sleep(0.5)


if __name__ == "__main__":
    sys.exit(main())
