"""The report: deterministic facts, one self-contained page, a sound Markdown twin, hostile text harmless in both."""

from __future__ import annotations

import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from stages import paths, provenance, tracking
from stages.errors import UserError
from stages.report import evaluation, facts, render, tables, typography
from stages.report.__main__ import report
from stages.report.corpus import around_quote, contrast
from stages.report.observed import observe
from stages.settings import Settings, load_settings
from stages.tracking import StageRun
from tests.conftest import ROOT
from tests.report import inputs


class Recorder(StageRun):
    """Keeps the names of what is logged."""

    def __init__(self) -> None:
        super().__init__("report")
        self.kept: list[tuple[str, str | None]] = []

    def artifact(self, path: Path, folder: str | None = None) -> None:
        self.kept.append((path.name, folder))


def down(_: str) -> tuple[Any, str]:
    """An MLflow that does not answer."""
    raise ConnectionError("refused")


@pytest.fixture(autouse=True)
def no_mlflow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing answers where MLflow should be."""
    monkeypatch.setattr(tracking, "connect", down)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with plausible inputs and the report of them."""
    folder = tmp_path_factory.mktemp("finished")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(tracking, "connect", down)
        settings = load_settings(ROOT / "profiles" / "tiny.yaml")
        inputs.everything(settings)
        assert report(settings, StageRun("report")) == {}
    return folder


@pytest.fixture
def made(finished: Path, workspace: Path, settings: Settings) -> Settings:
    """A copy of the finished report, as the working folder."""
    shutil.copytree(finished, workspace, dirs_exist_ok=True)
    return settings


class Page(HTMLParser):
    """What a page loads, what it runs, and whether every element is closed."""

    VOID = frozenset({"meta", "br", "img", "hr", "input", "rect", "link"})

    def __init__(self, html: str) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.runs: list[str] = []
        self.open: list[str] = []
        self.ids: list[str] = []
        self.text: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        if tag not in self.VOID:
            self.open.append(tag)
        self.handle_startendtag(tag, attributes)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        values = dict(attributes)
        self.ids += [value for name, value in attributes if name == "id" and value]
        self.loads += [
            f"{tag} {name}={value}"
            for name, value in attributes
            if name.split(":")[-1] in ("src", "href", "srcset", "data", "action", "poster")
            and tag != "a"
            and not (value or "").startswith("#")
        ]
        self.runs += [tag] * (tag in ("script", "iframe", "object", "embed", "base", "form"))
        self.runs += [name for name in values if name.startswith("on")]

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag, f"</{tag}> closes another element"

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def test_facts_are_a_pure_function_of_the_inputs(made: Settings) -> None:
    """Made twice, also with other times in MLflow and on another day: equal bytes; and nothing of the machine in it."""
    before = facts.PATH.read_bytes()
    for path in paths.DEDUPED.iterdir():
        path.touch()
    report(made, StageRun("report", "another"))
    assert facts.PATH.read_bytes() == before
    assert str(Path.cwd()) not in before.decode()


def test_the_funnel_is_counted_from_the_tables(made: Settings) -> None:
    found = json.loads(facts.PATH.read_text())
    row = {one["name"]: one for one in tables.funnel(found)}
    assert row["gutenberg"]["ingested"]["documents"] == 24
    assert row["gutenberg"]["curated"]["documents"] == 20
    assert row["all"]["clean"]["documents"] == 55
    assert row["all"]["raw"] == {"files": 2, "bytes": 2 * 812_345, "damaged": 0, "rejected": 10}
    texts = [one["text"] for one in inputs.corpus_rows(paths.CLEAN)]
    assert row["all"]["clean"]["bytes"] == sum(len(text.encode()) for text in texts)


def test_a_removed_near_duplicate_stands_beside_its_twin(made: Settings) -> None:
    removed = json.loads(facts.PATH.read_text())["corpus"]["removed"]
    fuzzy = next(group for group in removed if group["reason"] == "fuzzy")["samples"][0]
    assert fuzzy["twin"]["jaccard"] == 0.941
    assert [text for text, differs in fuzzy["excerpt"] if differs] == ["sea."]
    assert [text for text, differs in fuzzy["twin"]["excerpt"] if differs] == ["river."]
    assert contrast("a b c", "a x c") == (
        [["a", False], ["b", True], ["c", False]],
        [["a", False], ["x", True], ["c", False]],
    )


def test_a_contaminated_document_is_shown_where_the_item_stands() -> None:
    text = "word " * 40 + "Your noble son is mad:\nMad call I it; for to define" + " word" * 200
    before, found, after = around_quote(text, "gpt4/mmlu/1: “your noble son is mad mad call i it”")
    assert found == ["Your noble son is mad: Mad call I it", True]
    assert before[0].startswith("… word") and after[0].startswith("; for to define word") and after[0].endswith(" …")
    assert around_quote("short", "“not in it”") == [["short", False]]
    assert around_quote("short", "") == [["short", False]]


def test_the_samples_of_removed_documents_do_not_depend_on_their_order(made: Settings) -> None:
    group = next(
        one for one in json.loads(facts.PATH.read_text())["corpus"]["removed"] if one["reason"] == "few_stop_words"
    )
    assert group["documents"] == 4
    assert len(group["samples"]) == 3
    assert [sample["id"] for sample in group["samples"]] == sorted(sample["id"] for sample in group["samples"])


def test_the_page_is_one_file_that_loads_and_runs_nothing(made: Settings) -> None:
    html = render.HTML.read_text()
    page = Page(html)
    assert page.loads == []
    assert page.runs == []
    assert page.open == []
    assert len(page.ids) == len(set(page.ids))
    assert not re.search(r"@import|url\((?!#)", html)
    assert html.count("<svg") == 7
    assert "default-src 'none'" in html


def test_hostile_text_is_shown_and_harmless(made: Settings) -> None:
    html, markdown = render.HTML.read_text(), render.MARKDOWN.read_text()
    assert "<script>alert(1)</script>" in "".join(Page(html).text), "shown as the text it is"
    assert "<script" not in html and "<img" not in html
    assert "<script" not in markdown and "<img" not in markdown
    for page in (html, markdown):
        assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", page)


def test_markdown_tables_are_well_formed_and_pictures_exist(made: Settings) -> None:
    lines = render.MARKDOWN.read_text().split("\n")
    rules = [number for number, line in enumerate(lines) if re.fullmatch(r"\|(:?-+:?\|)+", line)]
    assert len(rules) >= 10
    for number in rules:
        columns = lines[number].count("|")
        block = [lines[number - 1]]
        for line in lines[number + 1 :]:
            if not line.startswith("|"):
                break
            block.append(line)
        assert len(block) > 1
        for line in block:
            assert len(re.findall(r"(?<!\\)\|", line)) == columns, line
    pictures = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", "\n".join(lines))
    assert len(pictures) == 7
    for picture in pictures:
        svg = (paths.REPORTS / picture).read_text()
        assert svg.startswith("<?xml") and ' width="518.4pt"' in svg
        assert "var(" not in svg and "#0102" not in svg


def test_a_repository_page_of_markdown_shows_text_as_it_is() -> None:
    assert typography.cell("a|b *c* <d> [e](f) `g` &lt; snake_case _h_") == (
        r"a\|b \*c\* &lt;d&gt; \[e\](f) \`g\` &amp;lt; snake_case \_h\_"
    )
    assert typography.quote("# one\n\n- two\n3. three") == "> \\# one\\\n>\n> \\- two\\\n> 3\\. three"
    assert typography.code("a`b") == "``a`b``"


def test_plain_text_shows_what_would_hide() -> None:
    assert typography.plain("a\x1b[31m\u202eb\ud800\n\t\x85") == "a\u241b[31m\ufffdb\ufffd\n\t\ufffd"
    assert typography.plain("e" + "\u0301" * 40) == "e" + "\u0301" * 3
    assert typography.plain("naïve 中文 👩‍👧 שלום") == "naïve 中文 👩‍👧 שלום"


@pytest.mark.parametrize(
    ("number", "shown"),
    [(0, "0 B"), (999, "999 B"), (1234, "1.23 kB"), (99_960, "100 kB"), (999_600, "1 MB"), (40e9, "40 GB")],
)
def test_sizes(number: float, shown: str) -> None:
    assert typography.size(number) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0.31, "0.3 s"),
        (9.96, "10 s"),
        (59.7, "1 min 00 s"),
        (75.2, "1 min 15 s"),
        (3599.9, "1 h 00 min"),
        (2e5, "2 d 08 h"),
    ],
)
def test_durations(seconds: float, shown: str) -> None:
    assert typography.duration(seconds) == shown


def test_another_machine_has_the_same_facts(made: Settings, workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same inputs made anew elsewhere: equal bytes."""
    before = facts.PATH.read_bytes()
    (workspace / "elsewhere").mkdir()
    monkeypatch.chdir(workspace / "elsewhere")
    inputs.everything(made)
    report(made, StageRun("report"))
    assert facts.PATH.read_bytes() == before


def test_a_report_of_nothing_says_so(workspace: Path, settings: Settings) -> None:
    """No stage ran: every part is empty, none fails."""
    run = Recorder()
    report(settings, run)
    html, markdown = render.HTML.read_text(), render.MARKDOWN.read_text()
    assert html.count('class="missing"') >= 8
    assert "not measured" in markdown
    assert ("report.html", None) in run.kept and ("report.md", None) in run.kept


def test_pages_and_figures_are_kept_with_the_run(workspace: Path, settings: Settings) -> None:
    inputs.everything(settings)
    run = Recorder()
    report(settings, run)
    assert ("report.html", None) in run.kept and ("loss.svg", "figures") in run.kept


def test_rendering_needs_facts(workspace: Path, settings: Settings) -> None:
    with pytest.raises(UserError, match="dvc repro report"):
        render.render(settings)


def test_scores_are_judged_against_guessing() -> None:
    assert evaluation.verdict({"value": 0.30, "stderr": 0.1}, 0.25) == "at"
    assert evaluation.verdict({"value": 0.50, "stderr": 0.01}, 0.25) == "above"
    assert evaluation.verdict({"value": 0.10, "stderr": 0.01}, 0.25) == "below"
    assert evaluation.verdict({"value": 0.10, "stderr": 0.01}, None) == ""


def test_the_page_says_when_a_model_guesses(made: Settings) -> None:
    text = " ".join("".join(Page(render.HTML.read_text()).text).split())
    assert "8 of 8 multiple-choice scores lie within two standard errors of guessing" in text
    assert "20 of 1,319" in text
    assert "MLflow at" in text and "did not answer" in text


class Client:
    """An MLflow that knows one finished run of a fingerprint."""

    def __init__(self, fingerprint: str) -> None:
        self.fingerprint = fingerprint

    def search_runs(self, _: list[str], filter_string: str, **__: Any) -> list[Any]:
        if self.fingerprint not in filter_string or "FINISHED" not in filter_string:
            return []
        info = SimpleNamespace(
            run_id="f00d" * 8, experiment_id="1", start_time=1_700_000_000_000, end_time=1_700_000_252_000
        )
        tags = {"gptoss.git_commit": "c0ffee" * 6, "gptoss.cluster": "local", "gptoss.git_dirty": "false"}
        data = SimpleNamespace(metrics={"tokens_per_second": 9.0, "memory_mib": 100.0, "loss": 2.0}, tags=tags)
        return [SimpleNamespace(info=info, data=data)]

    def get_metric_history(self, _: str, name: str) -> list[Any]:
        return [
            SimpleNamespace(value=value)
            for value in ((16_000.0, 20_000.0, 9.0) if name != "memory_mib" else (200.0, 100.0))
        ]


def test_what_was_observed_is_of_the_run_that_made_the_outputs(made: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    recorded = provenance.recorded("pretrain")
    assert recorded is not None
    monkeypatch.setattr(tracking, "connect", lambda _: (Client(recorded.fingerprint), "1"))
    observed = observe(made)
    assert [stage.name for stage in observed.stages] == ["ingest@wikipedia", "shards", "pretrain"]
    assert observed.run_of("shards") is None
    run = observed.run_of("pretrain")
    assert run is not None and run.seconds == 252 and run.started == "2023-11-14 22:13:20 UTC"
    assert run.metrics == {"tokens_per_second": 16_000.0, "memory_mib": 200.0, "loss": 2.0}
    render.render(made)
    text = "".join(Page(render.HTML.read_text()).text)
    assert "4 min 12 s" in text and "16,000 tokens/s" in text and "210 MB a rank" in text and "c0ffee" in text


def test_what_an_earlier_run_registered_is_left_out(made: Settings) -> None:
    lock = json.loads(Path("dvc.lock").read_text())
    old = {"cmd": "x", "deps": [{"path": "reports/facts.json", "md5": "0" * 32}]}
    lock["stages"] |= {"register": old, "report": {"cmd": "x", "outs": old["deps"]}}
    Path("dvc.lock").write_text(json.dumps(lock))
    assert {"register", "report"}.isdisjoint(stage.name for stage in observe(made).stages)


def test_one_character_of_several_tokens_stays_whole(made: Settings) -> None:
    cut = facts.pieces("naïve “day”")
    assert "".join(text for text, _ in cut) == "naïve “day”"
    assert ["ï", 2] in cut
