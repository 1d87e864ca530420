"""arXiv records as JSON lines to documents."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from gptoss.config.source import SourceConfig
from gptoss.formats import arxiv
from gptoss.formats.records import Document, Rejection
from tests.formats.run_reader import read, texts


def json_lines(*values: Any) -> bytes:
    return b"".join((value if isinstance(value, bytes) else json.dumps(value).encode()) + b"\n" for value in values)


METADATA = {
    "id": "2001.00001",
    "title": "Rivers\n  and seas",
    "abstract": "  We study\nrivers.\n  Then seas.\n",
    "license": "CC-X",
    "categories": "math.PR",
    "versions": [{"version": "v1", "created": "Wed, 1 Jan 2020"}],
    "update_date": "2020-02-02",
}


def test_metadata_and_full_text(a_source: SourceConfig) -> None:
    full = {
        "paper_id": "2001.00002", "metadata": METADATA | {"license": None}, "abstract": {"text": " An abstract."},
        "body_text": [
            {"section": "Intro", "text": "As shown {{cite:a1}}, {{cite:b2}}, mass {{formula:f1}} grows ({{cite:c}})."},
            {"section": "Intro", "text": "See {{figure:x}}."}, {"section": "End", "text": "Done."},
        ],
        "ref_entries": {"f1": {"type": "formula", "latex": "m^{2} "}},
    }  # fmt: skip
    records, _ = read(arxiv.read, json_lines(METADATA, b"", full), a_source)
    assert texts(records) == [
        "Rivers and seas\n\nWe study rivers.\n\nThen seas.",
        "Rivers and seas\n\nAn abstract.\n\nIntro\n\nAs shown, mass $m^{2}$ grows.\n\nSee.\n\nEnd\n\nDone.",
    ]
    first, second = (record for record in records if isinstance(record, Document))
    assert (first.license, second.license, first.url) == ("CC-X", None, "https://arxiv.org/abs/2001.00001")
    assert (first.locator, second.locator) == ("line 1", "line 3")
    assert first.meta == {
        "arxiv_id": "2001.00001", "categories": "math.PR", "update_date": "2020-02-02", "date": "Wed, 1 Jan 2020",
    }  # fmt: skip


def test_malformed_lines_are_rejected_one_by_one(a_source: SourceConfig) -> None:
    raw = json_lines(b"{broken", METADATA, [1], {"x": 1}, METADATA | {"title": None}, b"\xff", b"[" * 100_000,
                     b"9" * 5000, METADATA)  # fmt: skip
    records, damage = read(arxiv.read, raw, a_source)
    assert not damage
    assert len(texts(records)) == 2
    assert {record.locator: record.reason for record in records if isinstance(record, Rejection)} == {
        "line 1": "not JSON", "line 3": "unknown schema", "line 4": "unknown schema", "line 5": "unknown schema",
        "line 6": "not JSON", "line 7": "not JSON", "line 8": "not JSON",
    }  # fmt: skip


def test_real_arxiv(shared: Path, a_source: SourceConfig) -> None:
    folder = shared / "corpora/arxiv"
    metadata, _ = read(arxiv.read, (folder / "arxiv-metadata-oai-sample.jsonl").read_bytes(), a_source)
    full, _ = read(arxiv.read, (folder / "unarXive_data_sample/arXiv_src_2212_086.jsonl").read_bytes(), a_source)
    assert len(texts(metadata)) == len(texts(full)) == 49
    assert "{{" not in "".join(re.sub(r"\$[^$]*\$", "", text) for text in texts(full)[:5])
    assert len({record.license for record in full if isinstance(record, Document)}) == 3
