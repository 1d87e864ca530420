"""A Slurm cluster of two nodes on this machine: munged, slurmctld and two slurmd, with all files in one folder."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.training_runs import free_port

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch")
CREDENTIAL_SECONDS = 5
"""A requeued job waits until its old credentials have expired, by default two minutes."""

CONFIGURATION = """
ClusterName=test
SlurmctldHost=localhost(127.0.0.1)
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire={credentials}
SlurmctldPort={ports[0]}
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmdSpoolDir={folder}/spool-%n
SlurmdParameters=config_overrides
StateSaveLocation={folder}/state
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerType=sched/builtin
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
ReturnToService=2
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs=2
NodeName=n2 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]} CPUs=2
PartitionName=main Nodes=n1,n2 Default=YES State=UP
"""


def missing() -> list[str]:
    """Programs that this machine lacks."""
    return [name for name in PROGRAMS if not shutil.which(name, path=search_path())]


def search_path() -> str:
    """PATH with the folders of daemons."""
    return os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])


@contextmanager
def slurm_site(folder: Path) -> Iterator[dict[str, str]]:
    """Run the cluster; yields the environment variables with which Slurm's commands find it."""
    environment = os.environ | {"PATH": search_path(), "SLURM_CONF": str(folder / "slurm.conf")}
    for name in ("state", "spool-n1", "spool-n2"):
        (folder / name).mkdir()
    (folder / "slurm.conf").write_text(
        CONFIGURATION.format(
            folder=folder, user=getpass.getuser(), host=socket.gethostname().partition(".")[0],
            credentials=CREDENTIAL_SECONDS, ports=[free_port() for _ in range(3)],
        )
    )  # fmt: skip
    key = folder / "munge.key"
    key.write_bytes(os.urandom(1024))
    key.chmod(0o400)
    munge = {"key-file": key, "socket": "munge.socket", "pid-file": "munged.pid", "seed-file": "munge.seed"}
    with ExitStack() as daemons:
        for name, command in {
            "munged": ["munged", "--foreground", "--force", *(f"--{k}={folder / v}" for k, v in munge.items())],
            "slurmctld": ["slurmctld", "-D"],
            "slurmd-n1": ["slurmd", "-D", "-N", "n1"],
            "slurmd-n2": ["slurmd", "-D", "-N", "n2"],
        }.items():
            daemons.enter_context(daemon(command, folder / f"{name}.log", environment))
        wait_until_idle(environment, folder)
        yield {"SLURM_CONF": environment["SLURM_CONF"], "PATH": environment["PATH"]}
        subprocess.run(["scancel", "--user", getpass.getuser()], env=environment)


@contextmanager
def daemon(command: list[str], log: Path, environment: dict[str, str]) -> Iterator[None]:
    """Run a process until the end of the block."""
    with open(log, "w") as output:
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=output)
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_until_idle(environment: dict[str, str], folder: Path) -> None:
    deadline = time.monotonic() + 60
    while True:
        states = subprocess.run(
            ["sinfo", "--Node", "--noheader", "--format=%T"], env=environment, capture_output=True, text=True
        ).stdout.split()
        if states == ["idle", "idle"]:
            return
        logs = "\n".join(f"{log.name}:\n{log.read_text()[-2000:]}" for log in folder.glob("*.log"))
        assert time.monotonic() < deadline, f"no Slurm after a minute, nodes are {states}\n{logs}"
        time.sleep(0.2)
