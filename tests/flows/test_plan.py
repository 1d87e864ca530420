"""The plan before a run: raw files without their bytes, estimates whose arithmetic can be followed, clear errors."""

from __future__ import annotations

import gzip
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from gptoss.cli import plan, run
from gptoss.config.cluster import ClusterConfig, load_cluster
from gptoss.config.section import check, load_yaml
from gptoss.config.source import SourceConfig
from gptoss.estimate import rates, raw_file_sizes
from gptoss.estimate.estimate import START, estimate
from gptoss.estimate.raw_file_sizes import RawFiles, look
from gptoss.sources.resolve_urls import expand
from gptoss.tracking import mlflow_run
from tests.conftest import ROOT
from tests.ingest.conftest import LocalIndex

SIZES = {f"/crawl/{number}.warc.gz": 1000 * (number + 1) for number in range(200)}


class Crawl(BaseHTTPRequestHandler):
    """Answers HEAD with sizes and GET with the list of files only; remembers what was asked."""

    asked: list[tuple[str, str]] = []  # noqa: RUF012 (emptied by the fixture)

    def do_HEAD(self) -> None:
        self.asked.append(("HEAD", self.path))
        self.send_response(200 if self.path in SIZES else 404)
        self.send_header("Content-Length", str(SIZES.get(self.path, 0)))
        self.end_headers()

    def do_GET(self) -> None:
        self.asked.append(("GET", self.path))
        body = gzip.compress("\n".join(path[1:] for path in SIZES).encode()) if self.path == "/warc.paths.gz" else b""
        self.send_response(200 if body else 404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def crawl() -> Iterator[str]:
    Crawl.asked.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Crawl)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retries follow each other at once, and no proxy stands before loopback."""
    monkeypatch.setattr("gptoss.sources.fetch.FIRST_PAUSE", 0.0)
    monkeypatch.setattr("gptoss.sources.package_index.FIRST_PAUSE", 0.0)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


def a_source(format_: str, *urls: str, **more: Any) -> SourceConfig:
    values = {"format": format_, "urls": list(urls), "license": "L", "language": "en"} | more
    return check(SourceConfig, values, origin="test")


def test_a_sample_of_a_list_is_sized_by_headers_alone(workspace: Path, crawl: str) -> None:
    """The files that `ingest` would read, their sizes asked of some, none of their bytes fetched."""
    source = a_source("warc", f"{crawl}/warc.paths.gz", prefix=crawl, max_files=5)
    files = look(source, seed=7)
    assert (files.found, files.chosen, files.sized, files.remarks) == (200, 5, 5, [])
    chosen = [origin.url.removeprefix(crawl) for origin in expand(source, 7)]
    assert files.bytes == sum(SIZES[path] for path in chosen)
    assert sorted(path for method, path in Crawl.asked if method == "HEAD") == sorted(chosen)
    assert {path for method, path in Crawl.asked if method == "GET"} == {"/warc.paths.gz"}


def test_of_many_files_some_are_asked(workspace: Path, crawl: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(raw_file_sizes, "ASKED", 10)
    files = look(a_source("warc", f"{crawl}/warc.paths.gz", prefix=crawl), seed=7)
    assert (files.chosen, files.sized) == (200, 10)
    assert files.bytes is not None and 0.7 < files.bytes / sum(SIZES.values()) < 1.3


def test_what_cannot_be_reached_is_a_remark(workspace: Path, crawl: str) -> None:
    Path("one.xml").write_bytes(b"x" * 77)
    nowhere = "http://127.0.0.1:9"
    gone = [f"{nowhere}/list.paths.gz", "absent/*.xml", f"{crawl}/absent.xml"]
    files = look(a_source("mediawiki", "one.xml", *gone), seed=7)
    assert (files.chosen, files.sized, files.known_bytes) == (2, 1, 77)
    said = "\n".join(files.remarks)
    assert f"cannot reach {nowhere}/list.paths.gz" in said and "no file matches absent/*.xml" in said
    assert f"no size of {crawl}/absent.xml" in said


def test_members_of_an_archive_are_read_from_its_directory(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package_index = LocalIndex(workspace / "simple")
    for variable in ("PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS", "PIP_NO_INDEX"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_INDEX_URL", package_index.url)
    texts = {"books-1.0/one.txt": b"x" * 10, "books-1.0/two.txt": b"x" * 30, "books-1.0/other.xml": b"x" * 500}
    package_index.add("books", "books-1.0.tar.gz", texts)
    files = look(a_source("gutenberg", "pypi:books==1.0/*.txt"), seed=7)
    assert (files.found, files.known_bytes) == (2, 40)
    assert not Path(".runs").exists(), "nothing was downloaded"
    (remark,) = look(a_source("gutenberg", "pypi:absent==1.0/*.txt"), seed=7).remarks
    assert "pypi:absent==1.0" in remark and "pip index versions absent" in remark


def cluster_with(**changes: Any) -> ClusterConfig:
    return check(ClusterConfig, load_yaml(ROOT / "infra/clusters/single.yaml") | changes, origin="test")


def test_every_row_follows_from_the_one_before(workspace: Path) -> None:
    sources = {"web": a_source("warc", "x"), "lost": a_source("warc", "y")}
    files = {"web": RawFiles(8, 8, 8, 8 * 10**9), "lost": RawFiles(3, 3)}
    known = rates.Rates({"web": "warc"})
    found = estimate(sources, files, known, cluster_with(data_workers=4))
    assert found.unknown == ["lost"]
    rows = {row.stage: row for row in found.rows}
    assert list(rows) == ["ingest@web", "curate@web", "dedup", "decontaminate", "tokenizer", "shards"]
    ingest = rows["ingest@web"]
    rate = known.of("ingest", "warc", 8e9)
    assert ingest.seconds == pytest.approx(8e9 / (rate.bytes_per_second * 4) + START)
    assert "8 GB / (" in ingest.arithmetic and "× 4) + 5 s = " in ingest.arithmetic
    assert ingest.makes == pytest.approx(8e9 * rate.out) == rows["curate@web"].reads
    assert rows["dedup"].reads == rows["curate@web"].makes
    assert found.seconds == pytest.approx(sum(row.seconds for row in found.rows))
    fewer = estimate(sources, files, known, cluster_with(data_workers=100), runs={"dedup"})
    assert "(8 tasks keep 8 of 100 busy)" in fewer.rows[0].arithmetic
    assert fewer.seconds == fewer.rows[2].seconds


def test_the_table_knows_every_format(workspace: Path) -> None:
    for format_ in plan.FORMATS:
        assert rates.table()["ingest", format_].bytes_per_second > 0 and rates.table()["curate", format_].out <= 1
    assert {stage for stage, _ in rates.table()} == set(rates.INPUT)
    assert "Measured" in rates.TABLE.read_text()


def a_run(stage: str, seconds: float, cluster: str = "local", **metrics: float) -> Any:
    tags = {"gptoss.stage": stage, "gptoss.cluster": cluster}
    info = SimpleNamespace(run_id="f00dcafe" * 4, start_time=0, end_time=int(1000 * seconds))
    return SimpleNamespace(info=info, data=SimpleNamespace(tags=tags, metrics=metrics))


def test_runs_of_this_checkout_come_before_the_table(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    big = a_run("ingest@web", 100, raw_bytes=1e9, bytes=2e8, documents=50_000, files=10)
    small = a_run("ingest@web", 10, raw_bytes=1e6, bytes=5e5, documents=100, files=10)
    other = a_run("ingest@gone", 1, raw_bytes=1e12, bytes=1e12, documents=1)
    Path("mlflow.db").touch()
    monkeypatch.setattr(rates, "_finished", lambda _: [small, big, other, a_run("pretrain", 9)])
    known = rates.Rates({"web": "warc"})
    rate = known.of("ingest", "warc", 1e10)
    assert rate.bytes_per_second == 1e9 / 100 / load_cluster("local").data_workers
    assert (rate.out, rate.document) == (0.2, 4000) and "f00dcafe on local" in rate.origin
    monkeypatch.setattr(rates, "_finished", lambda _: [small])
    known = rates.Rates({"web": "warc"})
    assert known.of("ingest", "warc", 1e10).origin == "table", "a megabyte says nothing of ten gigabytes"
    assert known.of("ingest", "warc", 5e6).bytes_per_second == 1e5, "but something of five megabytes"


def test_an_mlflow_that_is_not_there_is_said(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert rates.observed({}) == ([], "no runs in this checkout yet")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    assert rates.observed({})[1] == "MLflow at http://127.0.0.1:9 does not answer"
    assert not Path("mlflow.db").exists() and mlflow_run.tracking_uri().startswith("http")


def test_why_a_stage_would_run_is_said_once() -> None:
    changes: list[Any] = [
        {"changed deps": {"stages/dedup": "modified", "data/curated": "deleted", "params.yaml": {"seed": "modified"}}},
        {"changed outs": {"data/deduped": "not in cache", "metrics/dedup.json": "not in cache"}},
        "changed command",
    ]
    assert plan.reasons(changes, ["curate@web"]) == [
        "changed command",
        "changed: stages/dedup modified, params.yaml: seed modified",
        "missing: data/deduped",
        "after curate@web",
    ]
    assert plan.reasons(changes[:1], []) == [
        "changed: stages/dedup modified, data/curated deleted, params.yaml: seed modified"
    ]
    assert plan.listed(list("abcdefg")) == "a, b, c, d and 3 more"


@pytest.fixture
def checkout(workspace: Path, settings_with: Callable[..., Any]) -> Path:
    """A DVC project with the shipped stages and two sources of local files, in which nothing has run."""
    sources = {
        name: {"format": format_, "urls": [f"raw/*.{ending}"], "license": "L", "language": "en"}
        for name, format_, ending in (("wiki", "mediawiki", "xml"), ("books", "gutenberg", "txt"))
    }
    Path("raw").mkdir()
    Path("raw/a.xml").write_bytes(b"x" * 2_000_000)
    Path("raw/b.txt").write_bytes(b"x" * 1_000_000)
    values = load_yaml(ROOT / "profiles/tiny.yaml") | {"sources": sources}
    Path("params.yaml").write_text(yaml.safe_dump(values))
    shutil.copy(ROOT / "dvc.yaml", "dvc.yaml")
    subprocess.run([sys.executable, "-m", "dvc", "init", "-q", "--no-scm"], check=True)
    return workspace


def test_the_plan_of_a_checkout_where_nothing_has_run(checkout: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(Path().iterdir())
    assert run.main(["--dry-run"]) == 0
    said = capsys.readouterr().out
    assert "17 of 17 would run" in said and "missing: data/documents/wiki" in said
    assert "mediawiki  1 file, 2 MB" in said and "gutenberg  1 file, 1 MB" in said
    assert "no runs in this checkout yet" in said and " tokens" in said
    assert plan.main(["books"]) == 0
    named = capsys.readouterr().out
    assert "ingest@books" in named and "wiki" not in named
    assert run.main(["--dry-run", "--target", "curate@wiki"]) == 0
    target = capsys.readouterr().out
    assert "2 of 2 would run" in target and "dedup" not in target
    assert sorted(Path().iterdir()) == before, "nothing was written"


def test_urls_are_planned_without_a_configuration(
    workspace: Path, crawl: str, capsys: pytest.CaptureFixture[str]
) -> None:
    urls = ["--url", f"{crawl}/crawl/0.warc.gz", "--url", f"{crawl}/absent.warc.gz"]
    assert plan.main([*urls, "--format", "warc"]) == 0
    said = capsys.readouterr().out
    assert "2 files, about 2 kB: 1 have 1 kB" in said and "! no size of" in said and "ingest@urls" in said
    assert plan.main(["--url", f"{crawl}/absent.warc.gz", "--format", "warc"]) == 0
    assert "Estimate: none, as the size of no raw file is known" in capsys.readouterr().out


def test_mistakes_are_one_message(checkout: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert plan.main(["nothing"]) == 2
    assert "params.yaml has no source nothing" in capsys.readouterr().err
    assert plan.main(["--url", "x"]) == 2
    assert "--url and --format go together" in capsys.readouterr().err
    assert plan.main(["--url", "x", "--format", "warc", "--max-files", "0"]) == 2
    assert "max_files" in capsys.readouterr().err
