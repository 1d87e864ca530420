"""Serve a published model with an OpenAI-compatible API on loopback.

It runs `transformers serve` on one model, without network: `GET /v1/models`, `POST /v1/chat/completions`,
`/v1/completions`, `/v1/responses`, `GET /health`. Without `--model` it serves the champion of the Instruct model if
the registry keeps its files on this machine, otherwise the published Instruct folder.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from urllib.parse import urlparse
from urllib.request import url2pathname

from gptoss.core import paths
from gptoss.core.errors import ClusterError, UserError
from gptoss.core.process import set_quiet_env
from gptoss.tracking.mlflow_client import connect

PORT = 8000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", type=Path, help="a published folder")
    parser.add_argument("--port", type=int, default=PORT, help=f"on 127.0.0.1; default {PORT}")


def execute(options: argparse.Namespace) -> None:
    """Serve until interrupted."""
    set_quiet_env()
    serve(options.model or champion_folder(), options.port)


def champion_folder() -> Path:
    """The folder with the files of the Instruct champion. If there is no champion, or (with a message) if its files are
    on another machine, the published Instruct folder.

    Errors: `ClusterError` when the registry does not answer.
    """
    from gptoss.config.settings import load_settings
    from gptoss.registry.champions import get_champion
    from gptoss.registry.versions import registry_errors, registry_name

    name = load_settings().name
    with registry_errors():
        client, _ = connect(f"gpt-oss-{name}")
        version = get_champion(client, registry_name(name, "instruct"))
    published = paths.published(name, "instruct")
    if version is None:
        return published
    # The registry keeps versions by reference: on a shared tracking server the files may be on the machine of another
    # person.
    source = urlparse(version.source)
    folder = Path(url2pathname(source.path)) / "model"
    if source.scheme == "file" and folder.is_dir():
        return folder
    print(
        f"the champion, version {version.version}, is at {version.source} and not on this machine: "
        f"using {published} instead",
        file=sys.stderr,
    )
    return published


def require_model(folder: Path, fix: str = "run `make run` first, or name a folder with --model") -> None:
    """Errors: `UserError` when the folder holds no model."""
    if not (folder / "config.json").exists():
        raise UserError(f"there is no model in {folder}", fix)


def serve(folder: Path, port: int) -> None:
    """Run the server as a child process until it ends or this process is interrupted.

    Errors: `UserError` when the folder holds no model, `ClusterError` when the server exits with an error.
    """
    require_model(folder)
    # SIGTERM becomes SystemExit, so that the `finally` below also ends the server and the temporary cache is removed.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    # A cache with this model alone, so that the server lists nothing else and loads nothing from the network.
    with tempfile.TemporaryDirectory() as cache:
        model = link_as_hub_model(folder, Path(cache))
        print(f"{folder} at http://127.0.0.1:{port}/v1 as model {model}; Ctrl-C ends it", flush=True)
        # The module behind the console script `transformers`, which need not be on PATH.
        command = [sys.executable, "-m", "transformers.cli.transformers", "serve", model]
        server = subprocess.Popen(
            [*command, "--host", "127.0.0.1", "--port", str(port)],
            cwd=cache,  # in the checkout, `gpt-oss/NAME` would be read as a local folder, not as a hub model
            env=os.environ | {"HF_HUB_CACHE": cache, "HF_HUB_OFFLINE": "1"},
        )
        try:
            code = server.wait()
        finally:
            server.terminate()
            server.wait()
    if code:
        raise ClusterError(
            f"the server ended with code {code}", f"see its messages above; port {port} may be taken: --port"
        )


def link_as_hub_model(folder: Path, cache: Path) -> str:
    """Make `folder` the only model of a Hugging Face cache, by symbolic links, and return its name there.

    `transformers serve` lists the models of the cache and answers to no other name, so serving a plain folder would
    show its path, or none, to clients.
    """
    folder = folder.resolve()
    base = folder.parent.name if folder.name == "model" else folder.name  # a registry version's files are in NAME/model
    name = re.sub(r"[^A-Za-z0-9]+", "-", base.removeprefix("gpt-oss-")).strip("-") or "model"
    entry = cache / f"models--gpt-oss--{name}"
    # The layout of the hub cache: refs/main names the snapshot, snapshots/NAME holds its files.
    (entry / "refs").mkdir(parents=True)
    (entry / "refs" / "main").write_text("published")
    snapshot = entry / "snapshots" / "published"
    snapshot.mkdir(parents=True)
    for path in folder.iterdir():
        if path.is_file():
            (snapshot / path.name).symlink_to(path)
    return f"gpt-oss/{name}"
