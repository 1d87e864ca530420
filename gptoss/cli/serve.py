"""Serve a published model with an OpenAI-compatible API on loopback: `python -m gptoss.cli.serve [--model FOLDER]`.

It is `transformers serve` on one model, without network: `GET /v1/models`, `POST /v1/chat/completions`,
`/v1/completions`, `/v1/responses`, `GET /health`. Without `--model` it serves the champion of the Instruct model where
the registry keeps its bytes on this machine, otherwise the published Instruct folder.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlparse
from urllib.request import url2pathname

from gptoss.core.errors import ClusterError, UserError
from gptoss.core.process import exit_code_of, set_quiet_env

PORT = 8000


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until interrupted; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m gptoss.cli.serve", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, help="a published folder")
    parser.add_argument("--port", type=int, default=PORT, help=f"on 127.0.0.1; default {PORT}")
    options = parser.parse_args(arguments)
    set_quiet_env()
    return exit_code_of(lambda: serve(options.model or champion_folder(), options.port))


def champion_folder() -> Path:
    """Where the bytes of the Instruct champion are; the published folder when there is no champion, or, which is said,
    its bytes are elsewhere. Raises `ClusterError` when the registry does not answer."""
    from gptoss.config.settings import load_settings
    from gptoss.core import paths
    from gptoss.registry.champions import get_champion
    from gptoss.registry.versions import registry_errors, registry_name
    from gptoss.tracking.mlflow_run import connect

    name = load_settings().name
    with registry_errors():
        client, _ = connect(f"gpt-oss-{name}")
        version = get_champion(client, registry_name(name, "instruct"))
    published = paths.published(name, "instruct")
    if version is None:
        return published
    source = urlparse(version.source)
    folder = Path(url2pathname(source.path)) / "model"
    if source.scheme == "file" and folder.is_dir():
        return folder
    print(
        f"the champion, version {version.version}, is at {version.source} and not on this machine: "
        f"taking {published} in its place",
        file=sys.stderr,
    )
    return published


def serve(folder: Path, port: int) -> None:
    """Run the server in a process of its own. Raises `UserError` when there is no model, `ClusterError` when the
    server ends by itself."""
    if not (folder / "config.json").exists():
        raise UserError(f"there is no model in {folder}", "run `make run` first, or name a folder with --model")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with tempfile.TemporaryDirectory() as cache:
        model = as_hub_model(folder, Path(cache))
        print(f"{folder} at http://127.0.0.1:{port}/v1 as model {model}; Ctrl-C ends it", flush=True)
        command = [sys.executable, "-m", "transformers.cli.transformers", "serve", model]
        server = subprocess.Popen(
            [*command, "--host", "127.0.0.1", "--port", str(port)],
            cwd=cache,  # in the checkout the name would be that of a folder
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


def as_hub_model(folder: Path, cache: Path) -> str:
    """Make `folder` the one model of a Hugging Face cache, by links, and return its name there: the server lists what
    is in the cache, and answers to no other name."""
    folder = folder.resolve()
    called = folder.parent.name if folder.name == "model" else folder.name  # a version's files are in NAME/model
    name = re.sub(r"[^A-Za-z0-9]+", "-", called.removeprefix("gpt-oss-")).strip("-") or "model"
    entry = cache / f"models--gpt-oss--{name}"
    (entry / "refs").mkdir(parents=True)
    (entry / "refs" / "main").write_text("published")
    snapshot = entry / "snapshots" / "published"
    snapshot.mkdir(parents=True)
    for path in folder.iterdir():
        if path.is_file():
            (snapshot / path.name).symlink_to(path)
    return f"gpt-oss/{name}"


if __name__ == "__main__":
    sys.exit(main())
