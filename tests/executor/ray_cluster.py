"""A real Ray cluster of several nodes on loopback, whose nodes can be killed."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

OBJECT_STORE = 80_000_000
"""Bytes: the minimum of Ray. Only names of files pass through the object store."""


class RayCluster:
    """A head node and worker nodes of one core each."""

    def __init__(self, workers: int) -> None:
        self._wanted = workers
        self.workers: list[subprocess.Popen[bytes]] = []
        self._nodes: list[subprocess.Popen[bytes]] = []
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.address = f"127.0.0.1:{probe.getsockname()[1]}"
        self._folder = tempfile.mkdtemp(prefix="ray-")  # a short path: Unix sockets live below it

    def __enter__(self) -> RayCluster:
        host, port = self.address.split(":")
        head = [f"--node-ip-address={host}", f"--port={port}", "--head", "--num-cpus=1", f"--temp-dir={self._folder}"]
        try:
            self._start([*head, "--include-dashboard=false"])
            for _ in range(self._wanted):
                self.add_worker()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def _stop(self) -> None:
        for node in reversed(self._nodes):  # workers before the head
            self._kill(node)
        shutil.rmtree(self._folder, ignore_errors=True)

    def add_worker(self) -> None:
        """Start one more node."""
        self.workers.append(self._start([f"--address={self.address}", "--node-ip-address=127.0.0.1", "--num-cpus=1"]))

    def kill_worker(self) -> None:
        """End the oldest worker node and everything on it with SIGKILL."""
        self._kill(self.workers.pop(0))

    def _start(self, arguments: list[str]) -> subprocess.Popen[bytes]:
        command = [str(Path(sys.executable).with_name("ray")), "start", *arguments, "--block"]
        limits = [f"--object-store-memory={OBJECT_STORE}", "--disable-usage-stats"]
        # A token in ~/.ray, left by another use of Ray, would make the head node demand it from the others.
        environment = {**os.environ, "RAY_worker_niceness": "0", "RAY_AUTH_MODE": "disabled"}
        with open(Path(self._folder) / "start.log", "ab") as log:
            node = subprocess.Popen([*command, *limits], env=environment, stdout=log, stderr=log)
        self._nodes.append(node)
        self._wait_until_ready(node)
        return node

    def _wait_until_ready(self, node: subprocess.Popen[bytes]) -> None:
        """A node is ready when its raylet runs; its start command stays in the foreground."""
        for _ in range(600):
            if node.poll() is not None:
                raise RuntimeError((Path(self._folder) / "start.log").read_text()[-2000:])
            names = {child.name() for child in psutil.Process(node.pid).children(recursive=True)}
            if "raylet" in names:
                return
            time.sleep(0.1)
        raise RuntimeError("the Ray node did not start within a minute")

    @staticmethod
    def _kill(node: subprocess.Popen[bytes]) -> None:
        try:
            processes = [*psutil.Process(node.pid).children(recursive=True), psutil.Process(node.pid)]
        except psutil.NoSuchProcess:
            return
        for process in processes:
            try:
                process.kill()
            except psutil.NoSuchProcess:
                continue
        node.wait()
