"""The package indexes that pip is configured with, queried through `pypi-simple`.

In: `pip config list` (environment, site, user and global files, merged as pip merges them) and a project name.
Out: the project's archives in every index and find-links location, in pip's order, and their bytes.
Errors: `ClusterError` with the URL after three failed attempts; `DataError` for a digest that differs. Passwords in
index URLs are never printed.
"""

from __future__ import annotations

import ast
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlsplit
from urllib.request import url2pathname

from gptoss.core.errors import ClusterError, DataError, UserError, from_os_error
from gptoss.sources.network import ATTEMPTS, call_with_retries, without_password

# `unearth` (PDM's finder) was considered instead: it logs and skips an index that cannot be reached, which then looks
# like a version that does not exist, does not read eggs, and does not read pip's configuration.

if TYPE_CHECKING:
    from pypi_simple import DistributionPackage, PyPISimple

# Seconds to connect, and seconds between two packets: an archive may take as long as it needs while bytes arrive.
TIMEOUT = (10.0, 60.0)
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
    no_index = options.get("no-index", "").lower() in ("1", "true", "yes", "on")
    return Indexes(
        indexes=() if no_index else tuple(dict.fromkeys([main, *extra])),
        find_links=tuple(dict.fromkeys(options.get("find-links", "").split())),
        cert=options.get("cert") or None,
        proxy=options.get("proxy") or None,
    )


# The environment is the key of the cache: `pip config list` takes a quarter of a second, and tests change PIP_*.
@cache
def _pip_options(environment: tuple[tuple[str, str], ...]) -> dict[str, str]:
    """Value of each option. As in pip, the section `install` overrides `global`, and the environment both."""
    listed = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=False
    ).stdout
    sections: dict[str, dict[str, str]] = {"global": {}, "install": {}, ":env:": {}}
    for name, value in environment:
        sections[":env:"][name.removeprefix("PIP_").lower().replace("_", "-")] = value
    for line in listed.splitlines():
        key, _, value = line.partition("=")
        section, _, option = key.partition(".")
        if section in sections and value:
            sections[section][option] = str(ast.literal_eval(value))  # pip prints the `repr` of a value
    return sections["global"] | sections["install"] | sections[":env:"]


def packages(project: str) -> tuple[list[DistributionPackage], list[ClusterError]]:
    """All archives of a project in all places, in pip's order, and an error for each place that is out of reach."""
    config = configured()
    found: list[DistributionPackage] = []
    unreachable: list[ClusterError] = []
    places = [(_index_packages, url) for url in config.indexes] + [(_linked_packages, url) for url in config.find_links]
    with _client(config) as client:
        for list_packages, url in places:
            try:
                found += list_packages(client, url, project)
            except ClusterError as error:
                unreachable.append(error)
    return found, unreachable


def _index_packages(client: PyPISimple, url: str, project: str) -> list[DistributionPackage]:
    """The archives of a project in a simple index."""
    from packaging.utils import canonicalize_name
    from pypi_simple import NoSuchProjectError

    base = url.rstrip("/") + "/"
    if base.startswith("file:"):
        folder = _local_path(base) / canonicalize_name(project)
        return _page_packages(folder / "index.html", f"{base}{canonicalize_name(project)}/", project)
    client.endpoint = base  # one client for all indexes keeps connections and configuration
    try:
        return list(_with_retries(lambda: client.get_project_page(project, timeout=TIMEOUT).packages, base, project))
    except NoSuchProjectError:
        return []  # pip treats an index without the project the same way: another index may have it


def _linked_packages(client: PyPISimple, place: str, project: str) -> list[DistributionPackage]:
    """The archives of a project at a find-links location: a folder of archives, or an HTML page of links to them."""
    if place.startswith(("http:", "https:")):

        def page() -> bytes:
            response = client.s.get(place, timeout=TIMEOUT)
            response.raise_for_status()
            return bytes(response.content)

        return _html_packages(_with_retries(page, place, project), place, project)
    local = _local_path(place) if place.startswith("file:") else Path(place)
    if local.is_dir():
        return _folder_packages(local, project)
    return _page_packages(local, local.resolve().as_uri(), project)


def _page_packages(page: Path, base_url: str, project: str) -> list[DistributionPackage]:
    """The links of a local HTML page. As in pip, a page that does not exist lists nothing, and a project folder of an
    index needs no `index.html`."""
    if page.is_file():
        return _html_packages(page.read_bytes(), base_url, project)
    return _folder_packages(page.parent, project) if page.name == "index.html" else []


def _folder_packages(folder: Path, project: str) -> list[DistributionPackage]:
    archives = sorted(path for path in folder.glob("*") if path.name.endswith(ARCHIVE_SUFFIXES))
    # Archives are listed through HTML as well, so that pypi-simple alone decides what a file name means.
    html = "".join(f'<a href="{path.resolve().as_uri()}">{path.name}</a>\n' for path in archives)
    return _html_packages(html, None, project)


def _html_packages(page: bytes | str, base_url: str | None, project: str) -> list[DistributionPackage]:
    """The links of an HTML page that are archives of the project."""
    from packaging.utils import canonicalize_name
    from pypi_simple import ProjectPage

    wanted = canonicalize_name(project)
    links = ProjectPage.from_html(project, page, base_url=base_url).packages
    return [link for link in links if link.project and canonicalize_name(link.project) == wanted]


def download(package: DistributionPackage, target: Path) -> None:
    """Write the archive's bytes to `target` and check every digest that the index gives."""
    with _client(configured()) as client:

        def copy() -> None:
            if package.url.startswith("file:"):  # requests does not support it
                shutil.copyfile(_local_path(package.url), target)
            else:
                client.download_package(package, target, verify=False, timeout=TIMEOUT)

        _with_retries(copy, package.url, package.filename)
    for algorithm, expected in package.digests.items():
        # An index may use algorithms that this Python lacks.
        if algorithm not in hashlib.algorithms_available:
            continue
        with target.open("rb") as file:
            actual = hashlib.file_digest(file, algorithm).hexdigest()
        if actual != expected:
            raise DataError(
                f"{without_password(package.url)}: {algorithm} {actual}, but its index says {expected}",
                "the index or the connection to it is damaged: try again, or point pip at another index",
            )


def _client(config: Indexes) -> PyPISimple:
    from pypi_simple import PyPISimple

    client = PyPISimple()
    # requests reads netrc, HTTP_PROXY and REQUESTS_CA_BUNDLE itself; these two are options of pip only.
    if config.cert:
        client.s.verify = config.cert
    if config.proxy:
        client.s.proxies = {"http": config.proxy, "https": config.proxy}
    return client


def _with_retries(call: Callable[[], T], url: str, wanted: str) -> T:
    """The result of `call`, retried while the network or the server fails in a way that may pass."""
    import requests
    from pypi_simple import UnsupportedContentTypeError, UnsupportedRepoVersionError

    url = without_password(url)

    def explain(error: Exception) -> tuple[Exception, bool]:
        # Order matters: HTTPError is a RequestException, and that is an OSError.
        if isinstance(error, requests.HTTPError):
            status = error.response.status_code
            return ClusterError(
                f"{wanted}: {url} answered HTTP {status}",
                "check that pip can use this index (`pip download --no-deps NAME==VERSION`), then run again",
            ), status in TEMPORARY_STATUS
        if isinstance(error, requests.exceptions.InvalidSchema | requests.exceptions.MissingSchema):
            return UserError(f"{url} is not an http(s):// or file:// index", "correct pip's index-url"), False
        if isinstance(error, requests.RequestException):
            return ClusterError(
                f"{wanted}: cannot reach {url} ({type(error).__name__}, {ATTEMPTS} attempts)",
                "connect this machine to the package index that `pip config list` shows, or set PIP_INDEX_URL, "
                "or put the archive into a folder and set PIP_FIND_LINKS to it; then run the same command again",
            ), True
        if isinstance(error, UnsupportedContentTypeError | UnsupportedRepoVersionError):
            return ClusterError(
                f"{wanted}: {url} does not answer as a package index ({error})",
                "check pip's index-url, and that no login page is between this machine and the index",
            ), False
        if isinstance(error, OSError):
            return from_os_error(error) or ClusterError(
                f"{wanted}: cannot read {url}: {error.strerror}", "repair that file, or point pip at another index"
            ), False
        return error, False

    return call_with_retries(call, explain)


def _local_path(url: str) -> Path:
    return Path(url2pathname(urlsplit(url).path))
