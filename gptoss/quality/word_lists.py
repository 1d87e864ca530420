"""Lists of domains and of words: files or URLs with one entry per line, optionally with the checksum of the file."""

from __future__ import annotations

from gptoss.core.errors import DataError, UserError
from gptoss.sources.fetch import read_small

CHECKSUM = "#sha256="


def is_list(entry: str) -> bool:
    """Whether an entry names a list: paths and URLs have a slash (a file in the working folder is `./NAME`)."""
    return "/" in entry


def read_list(location: str) -> list[str]:
    """The lines of a list, which may be compressed, without surrounding white space, empty lines and `#` comments.

    Errors: `UserError` if it does not exist, `ClusterError` if it cannot be reached, `DataError` if its checksum
    differs or it is not UTF-8.
    """
    url, _, sha256 = location.partition(CHECKSUM)
    try:
        raw = read_small(url, url, sha256.strip().lower() or None)
    except (FileNotFoundError, IsADirectoryError):
        raise UserError(f"the list {url} does not exist", "correct its path in params.yaml") from None
    try:
        text = raw.decode("utf-8-sig")  # lists edited on Windows start with a byte order mark
    except UnicodeDecodeError as error:
        raise DataError(f"the list {url} is not UTF-8: {error}", "convert it, or name another list") from None
    lines = (line.strip() for line in text.splitlines())
    return [line for line in lines if line and not line.startswith("#")]
