"""Plausible inputs of the report in every format that it reads: small, seeded, and with hostile text."""

from __future__ import annotations

import csv
import json
import math
import random
from pathlib import Path
from typing import Any

from gptoss.config.settings import Settings
from gptoss.core import paths
from gptoss.core.atomic_files import write_json
from gptoss.tables.documents import REJECTED, REMOVED, document_id, read_table, write_table
from tests.documents import write_documents
from tests.report.evaluation_inputs import HOSTILE, evaluations

SENTENCES = (
    "Anarchism is a political philosophy that advocates stateless societies.",
    "The city was founded in the ninth century on the left bank of the river.",
    "Shall I compare thee to a summer's day? Thou art more lovely and more temperate.",
    "In chemistry, a base is a substance that reacts with acids to give salts.",
    "My lord, I will hold friends with you; and so must all who serve the crown.",
    "Its population was 84,120 at the census of 2001, of whom a third lived in the harbour district.",
)


def text(rng: random.Random, sentences: int) -> str:
    """Some sentences, one after another."""
    return " ".join(rng.choice(SENTENCES) for _ in range(sentences))


def document(source: str, number: int, body: str, title: str = "") -> dict[str, Any]:
    """One row of a document table."""
    url = f"https://example.org/{source}/{number}"
    return {
        "id": document_id(source, url, body),
        "text": body,
        "source": source,
        "url": url,
        "title": title or f"Document {number}",
        "language": "en",
        "license": "CC0",
        "meta": "{}",
    }


def removed(
    row: dict[str, Any], reason: str, detail: str = "", twin: dict[str, Any] | None = None, jaccard: float | None = None
) -> dict[str, Any]:
    """The row as a table of removed documents has it."""
    return row | {"reason": reason, "detail": detail, "duplicate_of": twin["id"] if twin else None, "jaccard": jaccard}


def table(folder: Path, kept: list[dict[str, Any]], removed_rows: list[dict[str, Any]]) -> None:
    """A folder of documents with its table of removed ones."""
    import pyarrow as pa

    folder.mkdir(parents=True, exist_ok=True)
    write_documents(folder, kept)
    write_table(folder / "removed-00000.parquet", pa.Table.from_pylist(removed_rows, schema=REMOVED))


REMOVED_BY_RULES = (
    ("few_stop_words", "1 < 2"),
    ("few_stop_words", "0 < 2"),
    ("language", "de != en"),
    ("symbols", "0.31 > 0.1"),
)
REJECTED_RECORDS = 5


def corpus(settings: Settings) -> list[dict[str, Any]]:
    """Documents of every source through ingest, curate, dedup and decontaminate; returns the clean ones."""
    rng = random.Random(7)
    made: dict[str, list[dict[str, Any]]] = {}
    for source, number in zip(sorted(settings.sources), (22, 40), strict=False):
        made[source] = [document(source, i, text(rng, rng.randint(30, 120))) for i in range(number)]
        made[source][0] = document(source, 0, HOSTILE + " " + text(rng, 20), title=HOSTILE)
    twin = made["wikipedia"][-1]
    near = document("gutenberg", 901, twin["text"].replace("river", "sea", 1), title="Nearly the same")
    same = document("gutenberg", 900, twin["text"], title="The same")
    made["gutenberg"] += [same, near]
    for source, rows in made.items():
        _ingested(source, rows)
        removed_rows = [removed(row, *why) for row, why in zip(rows, REMOVED_BY_RULES, strict=False)]
        removed_rows[2]["language"] = "de"
        table(paths.curated(source), rows[4:], removed_rows)
    curated = [row for source in sorted(made) for row in made[source][4:]]
    deduped = [row for row in curated if row not in (same, near)]
    table(paths.DEDUPED, deduped, [removed(same, "exact", "", twin, 1.0), removed(near, "fuzzy", "", twin, 0.9412)])
    words = deduped[0]["text"].lower().replace(".", "").split()[9:17]
    table(paths.CLEAN, deduped[1:], [removed(deduped[0], "contaminated", f"smoke/mmlu/3: “{' '.join(words)}”")])
    return deduped[1:]


def _ingested(source: str, rows: list[dict[str, Any]]) -> None:
    """What `ingest` leaves."""
    import pyarrow as pa

    folder = paths.documents(source)
    folder.mkdir(parents=True)
    write_documents(folder, rows)
    reject = {"source": source, "origin": "dump.xml", "reason": "no_text"}
    rejects = [reject | {"locator": f"page {i}", "detail": HOSTILE if i == 0 else ""} for i in range(REJECTED_RECORDS)]
    write_table(folder / "rejected.parquet", pa.Table.from_pylist(rejects, schema=REJECTED))
    file: dict[str, Any] = {
        "url": f"pypi:{source}==1.0/texts/{source}.xml.bz2",
        "sha256": "ab" * 32,
        "bytes": 812_345,
        "documents": len(rows),
        "rejected": REJECTED_RECORDS,
        "status": "ok",
        "detail": "",
    }
    if source == "wikipedia":  # the other is a file of its own
        file |= {"archive": f"{source}-1.0.tar.gz", "archive_sha256": "cd" * 32}
    write_json(folder / "files.json", {"files": [file]})


def measured() -> None:
    """What curation and deduplication measure beside their tables."""
    import pyarrow as pa

    words = {"edges": [0, 50, 200, 1000, 20_000], "in": [3, 10, 20, 7], "kept": [0, 10, 20, 6]}
    length = {"edges": [3.0, 4.0, 5.0, 6.0], "in": [4, 30, 6], "kept": [3, 30, 3]}
    write_json(paths.curated("wikipedia") / "distributions.json", {"words": words, "mean_word_length": length})
    lines = pa.table({"line": ["Jump to navigation", HOSTILE], "documents": [31, 12]})
    write_table(paths.curated("wikipedia") / "repeated_lines.parquet", lines)
    clusters = {"size_02": 3, "size_03": 1, "size_10_or_more": 1}
    write_json(paths.metrics("dedup"), {"clusters": clusters, "largest_cluster": 14})


def tokenizer(settings: Settings, documents: list[dict[str, Any]]) -> None:
    """A byte-level BPE tokenizer trained on the documents."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=400, initial_alphabet=alphabet, show_progress=False)
    made.train_from_iterator([row["text"] for row in documents], trainer)
    paths.TOKENIZER.mkdir(parents=True)
    made.save(str(paths.TOKENIZER / "tokenizer.json"))
    splits = {"train": _split(documents[3:]), "validation": _split(documents[:3])}
    write_json(paths.metrics("shards"), splits)


def _split(documents: list[dict[str, Any]]) -> dict[str, Any]:
    """Counts of a split, as `shards` measures them."""
    counts: dict[str, Any] = {"documents": 0, "tokens": 0, "bytes": 0, "sources": {}}
    for row in documents:
        of_source = counts["sources"].setdefault(row["source"], {"documents": 0, "tokens": 0, "bytes": 0})
        size = len(row["text"].encode())
        for part in (counts, of_source):
            for unit, amount in (("documents", 1), ("tokens", size // 3), ("bytes", size)):
                part[unit] += amount
    return counts


def curves(steps: int = 1000) -> None:
    """The three CSV files of the training stages."""
    rng = random.Random(3)
    folder = paths.REPORTS / "plots"
    folder.mkdir(parents=True)
    scale, skipped = 65536.0, 0
    rows: list[list[Any]] = []
    for step in range(1, steps + 1):
        skip = step in (1, 2, 3, 640)
        skipped += skip
        scale = scale / 2 if skip else scale * (2 if step % 200 == 0 else 1)
        loss = 2.5 + 5.1 * math.exp(-step / 130) + rng.gauss(0, 0.06)
        rate = 0.004 * min(step / 50, 0.05 + 0.95 * (1 + math.cos(math.pi * step / steps)) / 2)
        rows.append([step, step * 4096, f"{loss:.5f}", f"{rate:.7g}", f"{rng.uniform(0.3, 0.9):.4f}", scale, skipped])
    _csv(folder / "pretrain.csv", "step,tokens,loss,learning_rate,gradient_norm,loss_scale,skipped", rows)
    points = range(100, steps + 1, 100)
    bits = {step: 2.17 + 2.4 * math.exp(-step / 170) for step in points}
    _csv(
        folder / "validation.csv",
        "step,tokens,loss,bits_per_byte",
        [[step, step * 4096, f"{bits[step] * 1.18:.5f}", f"{bits[step]:.5f}"] for step in points],
    )
    chat = [
        [
            step,
            f"{0.4 + 2.6 * math.exp(-step / 25) + rng.gauss(0, 0.05):.5f}",
            f"{0.9 + 2.0 * math.exp(-step / 25):.5f}" if step % 20 == 0 else "",
        ]
        for step in range(1, 121)
    ]
    _csv(folder / "instruct.csv", "step,loss,held_out_loss", chat)


def _csv(path: Path, header: str, rows: list[list[Any]]) -> None:
    with open(path, "w", newline="", encoding="utf-8") as stream:
        csv.writer(stream, lineterminator="\n").writerows([header.split(","), *rows])


def metrics() -> None:
    """Metrics files of a few stages."""
    write_json(paths.metrics("pretrain"), {"parameters": 1_100_000, "skipped_steps": 4})
    write_json(
        paths.metrics("instruct"),
        {"conversations": {"train": 216, "held_out": 24}, "held_out": {"loss_before": 4.21, "loss": 0.93}},
    )
    write_json(
        paths.metrics("publish@base"), {"gates": {"loads_stock": 0, "logits_finite": 0, "kl_float32_float16": 1e-5}}
    )
    cut = {"lines": 43, "bytes": 900}
    write_json(paths.metrics("curate@wikipedia"), {"redacted": {"email": 12, "ip": 3}, "repeated_lines": cut})
    skipped = {"redirect": 94, "namespace": 6}
    write_json(paths.metrics("ingest@wikipedia"), {"documents": 40, "rejected": REJECTED_RECORDS, "skipped": skipped})
    write_json(paths.metrics("ingest@gutenberg"), {"documents": 24, "rejected": REJECTED_RECORDS, "skipped": {}})
    write_json(paths.metrics("decontaminate"), {"items": 1980, "items_touched": 1})


def lock() -> None:
    """A `dvc.lock` of three stages."""
    stages = {
        "shards": {
            "cmd": "x",
            "deps": [{"path": "data/clean", "md5": "1" * 32}],
            "outs": [{"path": "data/shards", "md5": "2" * 32}],
        },
        "pretrain": {
            "cmd": "x",
            "deps": [{"path": "data/shards", "md5": "2" * 32}],
            "params": {"params.yaml": {"seed": 1}},
            "outs": [{"path": "models/base", "md5": "3" * 32}],
        },
        "ingest@wikipedia": {"cmd": "x", "outs": [{"path": "data/documents/wikipedia", "md5": "4" * 32}]},
    }
    Path("dvc.lock").write_text(json.dumps({"schema": "2.0", "stages": stages}))


def everything(settings: Settings) -> None:
    """All inputs, in the working directory."""
    tokenizer(settings, corpus(settings))
    measured()
    curves()
    evaluations()
    metrics()
    lock()


def corpus_rows(folder: Path) -> list[dict[str, Any]]:
    """All rows of a folder of documents."""
    rows: list[dict[str, Any]] = read_table(folder).to_pylist()
    return rows
