"""Serve a published model with an OpenAI-compatible API on loopback: `python -m flows.serve [--model FOLDER]`.

It is `transformers serve` on one folder, without network: `POST /v1/chat/completions`, `/v1/completions`,
`/v1/responses`, `GET /health`. Without `--model` it serves the champion of the Instruct model where the registry keeps
its bytes on this machine, otherwise the published Instruct folder.
"""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlparse
from urllib.request import url2pathname

from stages.entry import guarded, quieten
from stages.errors import ClusterError, UserError

PORT = 8000


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until interrupted; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m flows.serve", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, help="a published folder")
    parser.add_argument("--port", type=int, default=PORT, help=f"on 127.0.0.1; default {PORT}")
    options = parser.parse_args(arguments)
    quieten()
    return guarded(lambda: serve(options.model or champion_folder(), options.port))


def champion_folder() -> Path:
    """Where the bytes of the Instruct champion are; the published folder when there is no champion, or it is
    elsewhere."""
    from stages import paths
    from stages.register.champions import champion
    from stages.register.versions import registry_name
    from stages.settings import load_settings
    from stages.tracking import connect

    name = load_settings().name
    client, _ = connect(f"gpt-oss-{name}")
    version = champion(client, registry_name(name, "instruct"))
    source = urlparse(version.source) if version is not None else None
    if source is not None and source.scheme == "file":
        folder = Path(url2pathname(source.path)) / "model"
        if folder.is_dir():
            return folder
    return paths.published(name, "instruct")


def serve(folder: Path, port: int) -> None:
    """Run the server in a process of its own. Raises `UserError` when there is no model, `ClusterError` when the
    server ends by itself."""
    if not (folder / "config.json").exists():
        raise UserError(f"there is no model in {folder}", "run `make run` first, or name a folder with --model")
    address = f"http://127.0.0.1:{port}"
    print(f"{folder} at {address}/v1 (model name: {folder}); Ctrl-C ends it", flush=True)
    command = [sys.executable, "-m", "transformers.cli.transformers", "serve", str(folder)]
    server = subprocess.Popen([*command, "--host", "127.0.0.1", "--port", str(port)])
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        code = server.wait()
    finally:
        server.terminate()
        server.wait()
    if code:
        raise ClusterError(
            f"the server ended with code {code}", f"see its messages above; port {port} may be taken: --port"
        )


if __name__ == "__main__":
    sys.exit(main())
