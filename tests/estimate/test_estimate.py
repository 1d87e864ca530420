"""The estimate: every row follows from the one before it, with arithmetic that can be followed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gptoss.config.cluster import ClusterConfig
from gptoss.config.yaml_sections import check, load_yaml
from gptoss.estimate import rates
from gptoss.estimate.estimate import STARTUP_SECONDS, estimate
from gptoss.estimate.raw_file_sizes import RawFiles
from tests.conftest import ROOT
from tests.estimate.conftest import make_source


def cluster_with(**changes: Any) -> ClusterConfig:
    return check(ClusterConfig, load_yaml(ROOT / "infra/clusters/single.yaml") | changes, origin="test")


def test_every_row_follows_from_the_one_before(workspace: Path) -> None:
    sources = {"web": make_source("warc", "x"), "lost": make_source("warc", "y")}
    files = {"web": RawFiles(8, 8, 8, 8 * 10**9), "lost": RawFiles(3, 3)}
    known = rates.Rates({"web": "warc"})
    found = estimate(sources, files, known, cluster_with(data_workers=4))
    assert found.unknown == ["lost"]
    rows = {row.stage: row for row in found.rows}
    assert list(rows) == ["ingest@web", "curate@web", "dedup", "decontaminate", "tokenizer", "shards"]
    ingest = rows["ingest@web"]
    rate = known.of("ingest", "warc", 8e9)
    assert ingest.seconds == pytest.approx(8e9 / (rate.bytes_per_second * 4) + STARTUP_SECONDS)
    assert "8 GB / (" in ingest.arithmetic and "× 4) + 5 s = " in ingest.arithmetic
    assert ingest.output == pytest.approx(8e9 * rate.output_ratio) == rows["curate@web"].input_bytes
    assert rows["dedup"].input_bytes == rows["curate@web"].output
    assert found.seconds == pytest.approx(sum(row.seconds for row in found.rows))
    fewer = estimate(sources, files, known, cluster_with(data_workers=100), runs={"dedup"})
    assert "(8 tasks keep 8 of 100 busy)" in fewer.rows[0].arithmetic
    assert fewer.seconds == fewer.rows[2].seconds
