"""Small raw files for tests: prose, MediaWiki exports, archives, and a package index on disk."""

from __future__ import annotations

import hashlib
import io
import tarfile
import zipfile
from pathlib import Path


def page(title: str, number: int, text: str, *, namespace: int = 0, inside: str = "") -> str:
    """One page of a MediaWiki export."""
    return (
        f"<page><title>{title}</title><ns>{namespace}</ns><id>{number}</id>{inside}<revision><id>{number}9</id>"
        f"<timestamp>2020-01-01T00:00:00Z</timestamp><model>wikitext</model>"
        f'<text xml:space="preserve">{text}</text></revision></page>\n'
    )


def dump(*pages: str) -> bytes:
    """A MediaWiki export of these pages."""
    head = (
        '<mediawiki xmlns="http://www.mediawiki.org/xml/export-0.11/" xml:lang="en"><siteinfo><dbname>testwiki</dbname>'
        "<base>https://test.example/wiki/Main_Page</base><namespaces>"
        '<namespace key="0" case="first-letter" /><namespace key="6">Datei</namespace>'
        '<namespace key="14">Kategorie</namespace></namespaces></siteinfo>\n'
    )
    return (head + "".join(pages) + "</mediawiki>\n").encode()


def prose(number: int, sentences: int = 6) -> str:
    """Distinct plain sentences."""
    return " ".join(f"Sentence {i} of article {number} says that the river runs to the sea." for i in range(sentences))


class LocalIndex:
    """A simple package index in a folder (`file://`)."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.url = folder.as_uri()

    def add(self, project: str, filename: str, members: dict[str, bytes], *, digest: str | None = None) -> Path:
        """Write an archive and its link. `digest` overrides the true SHA-256."""
        folder = self.folder / project
        folder.mkdir(parents=True, exist_ok=True)
        archive = folder / filename
        (_write_tar if filename.endswith(".tar.gz") else _write_zip)(archive, members)
        digest = digest or hashlib.sha256(archive.read_bytes()).hexdigest()
        with (folder / "index.html").open("a") as page:
            page.write(f'<a href="{filename}#sha256={digest}">{filename}</a>\n')
        return archive


def _write_zip(path: Path, members: dict[str, bytes]) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(zipfile.ZipInfo(name), data)


def _write_tar(path: Path, members: dict[str, bytes]) -> None:
    with tarfile.open(path, "w:gz") as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
