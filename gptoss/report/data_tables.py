"""Rows of the data page, as its template shows them."""

from __future__ import annotations

from itertools import groupby
from typing import Any

from gptoss.core.formatting import count, percent, size
from gptoss.report.tables import by_source, removal_reasons

# Titles of the steps, in pipeline order.
TITLES = {
    "ingest": "Ingest",
    "curate": "Curate",
    "dedup": "Deduplicate",
    "decontaminate": "Decontaminate",
    "shards": "Encode",
}
# What shortened documents that a step kept; shards changes none.
REWRITTEN = {
    "curate": "cut or replaced inside kept documents",
    "dedup": "repeated passages cut out of kept documents",
    "decontaminate": "benchmark sentences cut out of kept documents",
    "shards": "",
}
# Where "kept" would be wrong: ingest turns records into documents, shards encodes them.
KEPT = {"ingest": "documents", "shards": "encoded"}
DUPLICATES = {"exact": "the same words", "fuzzy": "nearly the same words", "substring": "repeated passages"}
# Names of the languages that are common on the web; others are shown by their code.
LANGUAGES = {
    "ar": "Arabic", "bg": "Bulgarian", "cs": "Czech", "da": "Danish", "de": "German", "el": "Greek", "en": "English",
    "es": "Spanish", "fi": "Finnish", "fr": "French", "he": "Hebrew", "hi": "Hindi", "hu": "Hungarian",
    "id": "Indonesian", "it": "Italian", "ja": "Japanese", "ko": "Korean", "la": "Latin", "nl": "Dutch",
    "no": "Norwegian", "pl": "Polish", "pt": "Portuguese", "ro": "Romanian", "ru": "Russian", "sv": "Swedish",
    "tr": "Turkish", "uk": "Ukrainian", "vi": "Vietnamese", "zh": "Chinese",
}  # fmt: skip


def sources(facts: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The sources by name."""
    found: dict[str, dict[str, Any]] = facts["corpus"]["sources"]
    return found


def funnel_steps(source: dict[str, Any]) -> list[dict[str, Any]]:
    """The funnel of a source: per step the input, what each reason removed, what was kept, and the sum written out."""
    return [
        {
            "title": TITLES[step["stage"]],
            "input": step["in"],
            "entries": _entries(step),
            "label": KEPT.get(step["stage"], "kept"),
            "kept": step["kept"],
            "tokens": step["kept"].get("tokens"),
            "sum": arithmetic(step),
        }
        for step in source["funnel"]
    ]


def _entries(step: dict[str, Any]) -> list[dict[str, Any]]:
    whole = step["in"]["documents"]
    entries = [
        {"kind": "", **entry, "reason": entry["reason"].replace("_", " "),
         "share": entry["documents"] / whole if whole else None}
        for entry in step["removed"]
    ]  # fmt: skip
    # Without this entry the bytes of the step would not add up.
    if step["rewritten"]:
        cut = {"kind": "", "reason": REWRITTEN[step["stage"]], "bytes": step["rewritten"]}
        entries.append(cut | {"documents": None, "share": None})
    return entries


def arithmetic(step: dict[str, Any]) -> str:
    """`24 documents = 20 kept + 4 removed`, and the same for bytes where they are known."""
    given, kept, rewritten = step["in"], step["kept"], step["rewritten"]
    noun = ("record" if step["stage"] == "ingest" else "document") + "s" * (given["documents"] != 1)
    if step["stage"] == "shards":
        parts = " + ".join(f"{count(part['documents'])} {split}" for split, part in step["splits"].items())
    else:
        removed = sum(entry["documents"] for entry in step["removed"])
        parts = f"{count(kept['documents'])} kept + {count(removed)} removed"
    sentence = f"{count(given['documents'])} {noun} = {parts or 0}"
    if given["bytes"] is None:
        return sentence
    cut = f" {'+' if rewritten > 0 else '−'} {count(abs(rewritten))} {'cut' if rewritten > 0 else 'added'}"
    removed_bytes = sum(entry["bytes"] for entry in step["removed"])
    sentence += f"; {count(given['bytes'])} bytes = {count(kept['bytes'])} + {count(removed_bytes)}"
    return sentence + (cut if rewritten else "")


def key_figures(facts: dict[str, Any]) -> list[tuple[str, str, str]]:
    """The key figures over all sources: value, label and a note."""
    steps: dict[str, list[dict[str, Any]]] = {stage: [] for stage in TITLES}
    for source in sources(facts).values():
        for step in source["funnel"]:
            steps[step["stage"]].append(step)

    def total(stage: str, side: str, unit: str) -> int | None:
        return sum(step[side][unit] for step in steps[stage]) if steps[stage] else None

    def removed_share(stage: str) -> str:
        before, kept = total(stage, "in", "documents"), total(stage, "kept", "documents")
        return percent((before - kept) / before) if before and kept is not None else "–"

    def number(value: int | None) -> str:
        return "–" if value is None else count(value)

    ingested = total("ingest", "kept", "documents")
    tokens, encoded = total("shards", "kept", "tokens"), total("shards", "kept", "bytes")
    return [
        (number(total("ingest", "in", "documents")), "raw records",
         "not measured" if ingested is None else f"{count(ingested)} documents"),
        (removed_share("curate"), "removed by curation", "of documents"),
        (removed_share("dedup"), "duplicates", "of curated documents"),
        (number(total("decontaminate", "kept", "documents")), "clean documents",
         size(total("decontaminate", "kept", "bytes"))),
        (number(tokens), "tokens", f"{encoded / tokens:.2f} bytes per token" if tokens and encoded else "not measured"),
    ]  # fmt: skip


def removed_by_stage(facts: dict[str, Any]) -> list[dict[str, Any]]:
    """The groups of removed documents by stage, the most frequent reason first: `by`, `groups`."""
    # Already in pipeline order, as `groupby` needs it.
    by_stage = groupby(removal_reasons(facts), key=lambda group: group["by"])
    return [{"by": by, "groups": list(groups)} for by, groups in by_stage]


def description(source: dict[str, Any]) -> str:
    """Format and raw files of a source."""
    raw = source["raw"]
    if not raw:
        return str(source["format"])
    damaged = f", {count(raw['damaged'])} damaged" if raw["damaged"] else ""
    files = f"{count(raw['files'])} raw {'file' if raw['files'] == 1 else 'files'}"
    return f"{source['format']}, {files}, {size(raw['bytes'])}{damaged}"


def amount(group: dict[str, Any]) -> str:
    """Documents and bytes of a group of removed documents, and the documents of each source."""
    noun = "document" if group["documents"] == 1 else "documents"
    return f"{count(group['documents'])} {noun}, {size(group['bytes'])} ({by_source(group)})"


def licences(facts: dict[str, Any]) -> list[list[str]]:
    """Clean documents and bytes per source and licence; a source is named once."""
    return [
        ["" if position else name, row["name"] or "unknown", count(row["documents"]), size(row["bytes"])]
        for name, source in sources(facts).items()
        for position, row in enumerate(source["licenses"])
    ]


def reason_text(group: dict[str, Any]) -> str:
    """A reason in words."""
    name = group["reason"].replace("_", " ")
    return f"{name}: {DUPLICATES[group['reason']]}" if group["reason"] in DUPLICATES else name


def language_name(code: str) -> str:
    """`bg` as Bulgarian; a code without a name here as it is."""
    return LANGUAGES.get(code, code or "unknown")


def token_counts(facts: dict[str, Any]) -> list[dict[str, Any]]:
    """Tokens of each source: in training text, held out, and bytes per token."""
    rows = []
    for name, source in sources(facts).items():
        for step in source["funnel"]:
            if step["stage"] == "shards":
                kept, splits = step["kept"], step["splits"]
                ratio = kept["bytes"] / kept["tokens"] if kept["tokens"] else None
                tokens = {split: part["tokens"] for split, part in splits.items()}
                rows.append({"name": name, **kept, "splits": tokens, "ratio": ratio})
    whole = sum(row["tokens"] for row in rows)
    return [row | {"share": row["tokens"] / whole if whole else None} for row in rows]


def cut_text(facts: dict[str, Any]) -> list[dict[str, Any]]:
    """What was cut out of kept documents: title, amount, and what the `copies` of its examples count."""
    tables = [
        _cut(f"Repeated lines of {name}", source["repeated_lines"], "lines", "documents")
        for name, source in sources(facts).items()
        if source["repeated_lines"]
    ]
    passages = facts["corpus"]["passages"]
    return tables + ([_cut("Repeated passages", passages, "passages", "times cut")] if passages else [])


def _cut(title: str, table: dict[str, Any], unit: str, copies: str) -> dict[str, Any]:
    measured = table["measured"]
    amount = f"{count(measured[unit])} {unit}, {size(measured['bytes'])}"
    return {"title": title, "amount": amount, "copies": copies, "examples": table["examples"]}


def duplicate_clusters(facts: dict[str, Any]) -> dict[str, int]:
    """The number of clusters of duplicates, and the documents in the largest (0 when not measured)."""
    clusters = facts["corpus"]["clusters"]
    return {
        "clusters": sum(one["clusters"] for one in clusters),
        "largest": int(facts["metrics"].get("dedup", {}).get("largest_cluster", 0)),
    }
