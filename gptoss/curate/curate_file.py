"""Curate one part of a source: the task that the stage runs for each of its document tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from gptoss.config.curate import CurateConfig
from gptoss.core.atomic_files import atomic_file
from gptoss.curate import histograms
from gptoss.pii.redact import redact
from gptoss.quality import urls
from gptoss.quality.language import identify_all
from gptoss.quality.repeated_lines import Hashes, Integers, Lines, Repeated, cut, find_lines, samples, scopes
from gptoss.quality.rule_families import apply_rules
from gptoss.quality.toxicity import listed_fraction
from gptoss.tables.batches import TableWriter, part_batches, removed_rows
from gptoss.tables.documents import DOCUMENT, REMOVED

SAMPLE = pa.schema([("key", pa.uint64()), ("line", pa.string())])
MAX_SAMPLE_CHARACTERS = 300


@dataclass(frozen=True)
class Verdict:
    """Reason and detail of each removal, string [documents]; null for the documents kept."""

    reason: pa.Array
    detail: pa.Array

    def otherwise(self, later: Verdict) -> Verdict:
        """This verdict where there is one, `later` elsewhere."""
        decided = pc.is_valid(self.reason)
        return Verdict(
            pc.coalesce(self.reason, later.reason), pc.if_else(decided, self.detail, later.detail.cast(pa.string()))
        )

    @classmethod
    def where(cls, flags: pa.Array, reason: str, detail: pa.Array) -> Verdict:
        """`reason` where a flag is set."""
        return cls(pc.if_else(flags, reason, pa.scalar(None, pa.string())), detail)


@dataclass
class Curator:
    """Judges batches of one source. What is None or empty is switched off."""

    curate: CurateConfig
    licenses: Sequence[str]
    by_site: bool
    repeated: Repeated | None
    domains: Hashes | None
    words: tuple[str, ...]
    tally: Counter[str] = field(default_factory=Counter)
    shown: dict[int, str] = field(default_factory=dict)
    """Repeated lines met for the first time: hash and wording."""
    counts: list[histograms.Counts] = field(default_factory=list)

    def judged(self, batch: pa.RecordBatch) -> tuple[pa.RecordBatch, pa.RecordBatch]:
        """The documents kept and those removed (schema `REMOVED`) of a batch of documents."""
        whole, found = self.redacted(batch)
        texts, repeated = self.without_repeated_lines(batch, whole.column("text"))
        languages = identify_all(texts, batch.column("language"), self.curate.languages)
        judgement = apply_rules(texts, languages, self.curate.quality)
        verdict = (
            self.by_origin(batch)
            .otherwise(repeated)
            .otherwise(self.by_language(languages))
            .otherwise(Verdict(judgement.reason, judgement.detail))
            .otherwise(self.by_words(judgement.texts))
            .otherwise(self.by_personal_data(batch, found))
        )
        whole = _with(whole, "language", languages)
        stays = pc.is_null(verdict.reason)
        goes = pc.invert(stays)
        kept = _with(whole, "text", judgement.texts).filter(stays)
        removed = removed_rows(whole.filter(goes), verdict.reason.filter(goes), verdict.detail.filter(goes))
        self.count(batch, kept, removed)
        flags = stays.to_numpy(zero_copy_only=False)
        self.counts.append(histograms.counted(judgement.measures, languages.to_pylist(), flags))
        return kept, removed

    def redacted(self, batch: pa.RecordBatch) -> tuple[pa.RecordBatch, dict[str, Integers]]:
        """The batch without personal data in `text` and `title`, and how much of each kind each document held. This is
        before everything that is written, so that no output holds any, removed documents included."""
        kinds = [kind for kind, treatment in self.curate.personal_data.model_dump().items() if treatment != "keep"]
        texts, titles = (
            redact(batch.column("text").cast(pa.large_string()), kinds),
            redact(batch.column("title"), kinds),
        )
        found = {kind: texts.found[kind] + titles.found[kind] for kind in texts.found}
        self.tally.update({f"redacted.{kind}": int(numbers.sum()) for kind, numbers in found.items()})
        return _with(_with(batch, "text", texts.texts), "title", titles.texts), found

    def without_repeated_lines(self, batch: pa.RecordBatch, texts: pa.Array) -> tuple[pa.Array, Verdict]:
        """The redacted texts without repeated lines, which are told by the texts as they came (redaction moves no
        line), and a verdict on the documents of which nothing is left."""
        if self.repeated is None or self.curate.repeated_lines is None:
            return texts, _no_verdict(batch)
        lines = find_lines(batch.column("text"), scopes(batch, self.by_site), self.curate.repeated_lines.min_words)
        marks = self.repeated.marks(lines)
        for key, line in samples(texts, lines, self.repeated.samples):
            self.shown.setdefault(key, line[:MAX_SAMPLE_CHARACTERS])
        left = cut(texts, lines, marks)
        self.tally["lines_cut"] += int(marks.sum())
        self.tally["bytes_cut"] += _size(texts) - _size(left)
        number = _lines_cut(lines, marks)
        empty = pc.and_(pa.array(number > 0), pc.equal(pc.utf8_trim_whitespace(left), ""))
        detail = pc.binary_join_element_wise(pa.array(number).cast(pa.string()), "lines, none is left", " ")
        return left, Verdict.where(empty, "repeated_lines", detail)

    def by_origin(self, batch: pa.RecordBatch) -> Verdict:
        """Blocked addresses, then licences that are not wanted."""
        verdict = _no_verdict(batch)
        address, license_ = batch.column("url"), batch.column("license")
        if self.domains is not None:
            domain = urls.blocked_domains(address, self.domains)
            detail = pc.binary_join_element_wise("domain", domain, " ")
            verdict = verdict.otherwise(Verdict.where(pc.is_valid(domain), "url", detail))
        if self.curate.urls:
            word = urls.blocked_words(address, self.curate.urls.blocked_words)
            detail = pc.binary_join_element_wise("word", word, " ")
            verdict = verdict.otherwise(Verdict.where(pc.is_valid(word), "url", detail))
        if self.licenses:
            denied = pc.invert(urls.is_licensed(license_, self.licenses))
            verdict = verdict.otherwise(Verdict.where(denied, "license", pc.fill_null(license_, "none")))
        return verdict

    def by_language(self, languages: pa.Array) -> Verdict:
        """Languages that are not wanted."""
        wanted = pa.array(self.curate.languages, pa.string())
        detail = pc.binary_join_element_wise(languages, ", ".join(self.curate.languages), " != ")
        return Verdict.where(pc.invert(pc.is_in(languages, wanted)), "language", detail)

    def by_words(self, texts: pa.Array) -> Verdict:
        """Too many words of the list."""
        if self.curate.toxicity is None:
            return _no_verdict(texts)
        limit = self.curate.toxicity.max_fraction
        share = listed_fraction(texts, self.words)
        detail = pa.array([f"listed words {value:.6g} > {limit:g}" for value in share.tolist()], pa.string())
        return Verdict.where(pa.array(share > limit), "toxicity", detail)

    def by_personal_data(self, batch: pa.RecordBatch, found: dict[str, Integers]) -> Verdict:
        """Documents that hold a kind of personal data for which the whole document goes."""
        verdict = _no_verdict(batch)
        for kind, numbers in found.items():
            if getattr(self.curate.personal_data, kind) == "drop":
                detail = pc.binary_join_element_wise(pa.array(numbers).cast(pa.string()), "found", " ")
                verdict = verdict.otherwise(Verdict.where(pa.array(numbers > 0), f"personal_data.{kind}", detail))
        return verdict

    def count(self, batch: pa.RecordBatch, kept: pa.RecordBatch, removed: pa.RecordBatch) -> None:
        """Add a batch to the tally."""
        self.tally.update(f"removed.{reason}" for reason in removed.column("reason").to_pylist())
        self.tally["documents_in"] += batch.num_rows
        self.tally["documents_kept"] += kept.num_rows
        self.tally["bytes_in"] += _size(batch.column("text"))
        self.tally["bytes_kept"] += _size(kept.column("text"))


def curate_part(
    part: str, kept: str, removed: str, shown: str, curate: dict[str, Any], licenses: list[str], by_site: bool,
    repeated: str, domains: str, words: str,
) -> dict[str, Any]:  # fmt: skip
    """Task: write the documents of `part` that stay, those that go, and the wording of repeated lines (`shown`).
    Returns counts and histograms."""
    curator = Curator(
        CurateConfig.model_validate(curate),
        licenses,
        by_site,
        Repeated.load(Path(repeated)) if repeated else None,
        np.fromfile(domains, dtype=np.uint64) if domains else None,
        tuple(Path(words).read_text(encoding="utf-8").splitlines()) if words else (),
    )
    with ExitStack() as files:
        writers = [
            files.enter_context(TableWriter(files.enter_context(atomic_file(Path(name))), schema))
            for name, schema in ((kept, DOCUMENT), (removed, REMOVED), (shown, SAMPLE))
        ]
        for batch in part_batches(Path(part)):
            for writer, rows in zip(writers, curator.judged(batch), strict=False):
                writer.write(rows)
        keys, lines = pa.array(curator.shown, pa.uint64()), pa.array(curator.shown.values(), pa.string())
        writers[2].write(pa.RecordBatch.from_arrays([keys, lines], schema=SAMPLE))
    total = histograms.merged(curator.counts)
    return {"counts": dict(curator.tally), "histograms": {key: dict(value) for key, value in total.items()}}


def _no_verdict(rows: Any) -> Verdict:
    nothing = pa.nulls(rows.num_rows if isinstance(rows, pa.RecordBatch) else len(rows), pa.string())
    return Verdict(nothing, nothing)


def _with(batch: pa.RecordBatch, name: str, values: pa.Array) -> pa.RecordBatch:
    return batch.set_column(batch.schema.get_field_index(name), name, values)


def _size(texts: pa.Array) -> int:
    return pc.sum(pc.binary_length(texts)).as_py() or 0


def _lines_cut(lines: Lines, marks: npt.NDArray[np.bool_]) -> Integers:
    """How many lines of each text are cut, int64 [texts]."""
    return np.bincount(lines.owners, marks, len(lines.offsets) - 1).astype(np.int64)
