"""The package indexes that pip is configured with, asked through `pypi-simple`.

In: `pip config list` (environment, site, user and global files, merged as pip merges them) and a project name.
Out: the project's archives in every index and find-links place, in pip's order, and their bytes.
Wrong: three attempts with growing pauses, then `ClusterError` that names the URL; a digest that differs is
`DataError`. Passwords in index URLs are never printed.
"""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlsplit, urlunsplit
from urllib.request import url2pathname

from gptoss.core.errors import ClusterError, DataError, UserError, from_os_error

if TYPE_CHECKING:
    import requests
    from pypi_simple import DistributionPackage, PyPISimple

ATTEMPTS = 3
FIRST_PAUSE = 1.0
"""Seconds before the second attempt; doubled before the third."""
TIMEOUT = (10.0, 60.0)
"""Seconds to connect, seconds between two packets."""
TEMPORARY_STATUS = (408, 425, 429, 500, 502, 503, 504)
ARCHIVE_SUFFIXES = (".whl", ".tar.gz", ".zip", ".tar.bz2", ".egg")

T = TypeVar("T")


@dataclass(frozen=True)
class Indexes:
    """Where pip would look, in its order, and how it would connect."""

    indexes: tuple[str, ...]
    find_links: tuple[str, ...]
    cert: str | None
    proxy: str | None

    @property
    def places(self) -> tuple[str, ...]:
        """Everything that is searched."""
        return self.indexes + self.find_links


def configured() -> Indexes:
    """pip's own configuration; the environment alone where this interpreter has no pip."""
    from pypi_simple import PYPI_SIMPLE_ENDPOINT

    options = _pip_options(tuple(sorted((k, v) for k, v in os.environ.items() if k.startswith("PIP_"))))
    main = (options.get("index-url") or PYPI_SIMPLE_ENDPOINT).strip()
    extra = options.get("extra-index-url", "").split()
    off = options.get("no-index", "").lower() in ("1", "true", "yes", "on")
    return Indexes(
        indexes=() if off else tuple(dict.fromkeys([main, *extra])),
        find_links=tuple(dict.fromkeys(options.get("find-links", "").split())),
        cert=options.get("cert") or None,
        proxy=options.get("proxy") or None,
    )


@cache
def _pip_options(environment: tuple[tuple[str, str], ...]) -> dict[str, str]:
    """`option: value`, later origins winning as in pip: global, then the section of `install`, then environment."""
    listed = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=False
    ).stdout
    levels: dict[str, dict[str, str]] = {"global": {}, "install": {}, ":env:": {}}
    for name, value in environment:
        levels[":env:"][name.removeprefix("PIP_").lower().replace("_", "-")] = value
    for line in listed.splitlines():
        key, _, value = line.partition("=")
        section, _, option = key.partition(".")
        if section in levels and value:
            levels[section][option] = str(ast.literal_eval(value))
    return levels["global"] | levels["install"] | levels[":env:"]


def packages(project: str) -> tuple[list[DistributionPackage], list[ClusterError]]:
    """All archives of a project in all places, in pip's order, and an error for each place out of reach."""
    where = configured()
    found: list[DistributionPackage] = []
    unreachable: list[ClusterError] = []
    with _client(where) as client:
        for url in where.indexes:
            try:
                found += _of_index(client, url, project)
            except ClusterError as error:
                unreachable.append(error)
        for place in where.find_links:
            try:
                found += _of_links(client, place, project)
            except ClusterError as error:
                unreachable.append(error)
    return found, unreachable


def _of_index(client: PyPISimple, url: str, project: str) -> list[DistributionPackage]:
    from packaging.utils import canonicalize_name
    from pypi_simple import NoSuchProjectError

    base = url.rstrip("/") + "/"
    if base.startswith("file:"):
        folder = _local_path(base) / canonicalize_name(project)
        return _of_page(folder / "index.html", f"{base}{canonicalize_name(project)}/", project)
    client.endpoint = base
    try:
        return list(_attempt(lambda: client.get_project_page(project, timeout=TIMEOUT).packages, base, project))
    except NoSuchProjectError:
        return []


def _of_links(client: PyPISimple, place: str, project: str) -> list[DistributionPackage]:
    """A find-links place: a folder of archives, or an HTML page of links to them."""
    from pypi_simple import ProjectPage

    if place.startswith(("http:", "https:")):

        def page() -> bytes:
            response = client.s.get(place, timeout=TIMEOUT)
            response.raise_for_status()
            return bytes(response.content)

        links = ProjectPage.from_html(project, _attempt(page, place, project), base_url=place).packages
        return _of_project(links, project)
    local = _local_path(place) if place.startswith("file:") else Path(place)
    return _of_folder(local, project) if local.is_dir() else _of_page(local, local.resolve().as_uri(), project)


def _of_page(page: Path, base_url: str, project: str) -> list[DistributionPackage]:
    """The links of a local HTML page; a page that does not exist lists nothing, as in pip."""
    from pypi_simple import ProjectPage

    if page.is_file():
        return _of_project(ProjectPage.from_html(project, page.read_bytes(), base_url=base_url).packages, project)
    return _of_folder(page.parent, project) if page.name == "index.html" else []


def _of_folder(folder: Path, project: str) -> list[DistributionPackage]:
    from pypi_simple import ProjectPage

    names = sorted(path for path in folder.glob("*") if path.name.endswith(ARCHIVE_SUFFIXES))
    html = "".join(f'<a href="{path.resolve().as_uri()}">{path.name}</a>\n' for path in names)
    return _of_project(ProjectPage.from_html(project, html).packages, project)


def _of_project(links: list[DistributionPackage], project: str) -> list[DistributionPackage]:
    from packaging.utils import canonicalize_name

    wanted = canonicalize_name(project)
    return [link for link in links if link.project and canonicalize_name(link.project) == wanted]


def download(package: DistributionPackage, target: Path) -> None:
    """Write the archive's bytes to `target` and check every digest that the index gives."""
    from pypi_simple import DigestMismatchError

    with _client(configured()) as client:
        try:
            _attempt(
                lambda: client.download_package(package, target, verify=bool(package.digests), timeout=TIMEOUT),
                package.url,
                package.filename,
            )
        except DigestMismatchError as error:
            raise DataError(
                f"{without_password(package.url)}: {error.algorithm} {error.actual_digest}, "
                f"but its index says {error.expected_digest}",
                "the index or the way to it is damaged: try again, or point pip at another index",
            ) from error


def _client(where: Indexes) -> PyPISimple:
    from pypi_simple import PyPISimple

    client = PyPISimple()
    client.s.mount("file://", _file_adapter())
    if where.cert:
        client.s.verify = where.cert
    if where.proxy:
        client.s.proxies = {"http": where.proxy, "https": where.proxy}
    return client


def _file_adapter() -> requests.adapters.BaseAdapter:
    """`file://` for requests, which has none: a response whose body is the open file."""
    import requests
    from requests.adapters import BaseAdapter

    class FileAdapter(BaseAdapter):
        def send(self, request: requests.PreparedRequest, *_: object, **__: object) -> requests.Response:
            response = requests.Response()
            response.request, response.url = request, request.url or ""
            response.raw = open(_local_path(response.url), "rb")  # noqa: SIM115 (closed with the response)
            response.status_code = 200
            return response

        def close(self) -> None:
            pass

    return FileAdapter()


def _attempt(call: Callable[[], T], url: str, wanted: str) -> T:
    """Call up to three times while the network or the server fails in a way that may pass."""
    import requests
    from pypi_simple import UnsupportedContentTypeError, UnsupportedRepoVersionError

    url = without_password(url)
    for attempt in range(ATTEMPTS):
        try:
            return call()
        except requests.HTTPError as error:
            status = error.response.status_code
            if status not in TEMPORARY_STATUS or attempt == ATTEMPTS - 1:
                raise ClusterError(
                    f"{wanted}: {url} answered HTTP {status}",
                    "check that pip can use this index (`pip download --no-deps NAME==VERSION`), then run again",
                ) from error
        except requests.RequestException as error:
            if isinstance(error, requests.exceptions.InvalidSchema | requests.exceptions.MissingSchema):
                raise UserError(f"{url} is not an http(s):// or file:// index", "mend pip's index-url") from error
            if attempt == ATTEMPTS - 1:
                reason = type(error).__name__
                raise ClusterError(
                    f"{wanted}: cannot reach {url} ({reason}, {ATTEMPTS} attempts)",
                    "connect this machine to the package index that `pip config list` shows, or set PIP_INDEX_URL, "
                    "or put the archive into a folder and set PIP_FIND_LINKS to it; then run the same command again",
                ) from error
        except (UnsupportedContentTypeError, UnsupportedRepoVersionError) as error:
            raise ClusterError(
                f"{wanted}: {url} does not answer as a package index ({error})",
                "check pip's index-url, and that no login page stands between this machine and the index",
            ) from error
        except OSError as error:
            known = from_os_error(error)
            raise known or ClusterError(
                f"{wanted}: cannot read {url}: {error.strerror}", "mend that file, or point pip at another index"
            ) from error
        time.sleep(FIRST_PAUSE * 2**attempt)
    raise AssertionError("unreachable: the last attempt returns or raises")


def _local_path(url: str) -> Path:
    return Path(url2pathname(urlsplit(url).path))


def without_password(url: str) -> str:
    """A URL that can be shown: credentials replaced by `***`."""
    parts = urlsplit(url)
    if "@" not in parts.netloc:
        return url
    return urlunsplit(parts._replace(netloc="***@" + parts.netloc.rpartition("@")[2]))
