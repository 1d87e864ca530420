"""Remote files: the file system of a URL, retries, and URLs without their credentials."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import urlsplit, urlunsplit

from gptoss.core.errors import UserError

# Three attempts with pauses of 1 s and 2 s outlast a dropped connection or a restarting server. Longer outages are
# left to the orchestrator, which retries the whole stage.
ATTEMPTS = 3
FIRST_PAUSE = 1.0

T = TypeVar("T")


def call_with_retries(call: Callable[[], T], explain: Callable[[Exception], tuple[Exception, bool]]) -> T:
    """The result of `call`. `explain` maps an error to the one to raise and whether another attempt may succeed."""
    for attempt in range(ATTEMPTS):
        try:
            return call()
        except Exception as error:
            explained, is_temporary = explain(error)
            if attempt == ATTEMPTS - 1 or not is_temporary:
                if explained is error:
                    raise
                raise explained from error
        time.sleep(FIRST_PAUSE * 2**attempt)
    raise AssertionError("unreachable: the last attempt returns or raises")


def file_system(url: str) -> tuple[Any, str]:
    """The fsspec file system of a URL and the path in it. Raises `UserError` for an unknown or missing protocol."""
    if url.startswith("hf://"):
        _allow_hub()
    import fsspec

    # fsspec uses aiohttp for HTTP, which by default ignores HTTP_PROXY and netrc; `trust_env` enables both.
    options = {"client_kwargs": {"trust_env": True}} if url.startswith("http") else {}
    try:
        system, path = fsspec.core.url_to_fs(url, **options)
    except (ImportError, ValueError) as error:
        raise UserError(f"{without_password(url)}: {error}", "install what it names, or use another URL") from None
    return system, str(path)


def _allow_hub() -> None:
    """Stages run with `HF_HUB_OFFLINE=1`; a source with an `hf://` URL asks for the network."""
    os.environ["HF_HUB_OFFLINE"] = "0"
    # huggingface_hub reads the variable once, when it is imported, which may have happened already.
    if constants := sys.modules.get("huggingface_hub.constants"):
        constants.HF_HUB_OFFLINE = False  # type: ignore[attr-defined]


def without_password(url: str) -> str:
    """A URL that can be shown: credentials replaced by `***`."""
    parts = urlsplit(url)
    # Only the host part can hold credentials; an `@` in the path or query is part of the name.
    if "@" not in parts.netloc:
        return url
    return urlunsplit(parts._replace(netloc="***@" + parts.netloc.rpartition("@")[2]))
