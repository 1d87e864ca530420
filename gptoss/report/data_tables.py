"""Rows of the data page, ready to be set."""

from __future__ import annotations

from typing import Any

from gptoss.core.formatting import count, percent, size
from gptoss.report.tables import REMOVERS

TITLES = {
    "ingest": "Ingest",
    "curate": "Curate",
    "dedup": "Deduplicate",
    "decontaminate": "Decontaminate",
    "shards": "Encode",
}
REWRITTEN = {
    "curate": "cut or replaced inside documents that stay",
    "dedup": "repeated passages cut out of documents that stay",
    "decontaminate": "benchmark sentences cut out of documents that stay",
    "shards": "",
}
KEPT = {"ingest": "documents", "shards": "encoded"}
DUPLICATES = {"exact": "the same words", "fuzzy": "nearly the same words", "substring": "repeated passages"}
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


def ledger(source: dict[str, Any]) -> list[dict[str, Any]]:
    """The funnel of a source as an account: for each step what came in, each reason's share, what was kept, and the
    sum."""
    return [
        {
            "title": TITLES[step["stage"]],
            "given": step["in"],
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
        {
            "reason": entry["reason"].replace("_", " "),
            "kind": entry.get("kind", ""),
            "documents": entry["documents"],
            "bytes": entry["bytes"],
            "share": entry["documents"] / whole if whole else None,
        }
        for entry in step["removed"]
    ]
    if step["rewritten"]:
        entries.append(
            {
                "reason": REWRITTEN[step["stage"]],
                "kind": "",
                "documents": None,
                "bytes": step["rewritten"],
                "share": None,
            }
        )
    return entries


def arithmetic(step: dict[str, Any]) -> str:
    """`24 documents = 20 kept + 4 removed`, and the same for bytes where they are known."""
    removed = sum(entry["documents"] for entry in step["removed"])
    noun = "record" if step["stage"] == "ingest" else "document"
    noun += "" if step["in"]["documents"] == 1 else "s"
    if step["stage"] == "shards":
        parts = " + ".join(f"{count(part['documents'])} {split}" for split, part in step["splits"].items())
        sentence = f"{count(step['in']['documents'])} {noun} = {parts or 0}"
    else:
        kept = count(step["kept"]["documents"])
        sentence = f"{count(step['in']['documents'])} {noun} = {kept} kept + {count(removed)} removed"
    if step["in"]["bytes"] is None:
        return sentence
    gone = sum(entry["bytes"] for entry in step["removed"])
    rewritten = step["rewritten"]
    cut = f" {'+' if rewritten > 0 else '−'} {count(abs(rewritten))} {'cut' if rewritten > 0 else 'added'}"
    return (
        f"{sentence}; {count(step['in']['bytes'])} bytes = {count(step['kept']['bytes'])} + {count(gone)}"
        f"{cut if rewritten else ''}"
    )


def tiles(facts: dict[str, Any]) -> list[dict[str, str]]:
    """The key figures over all sources."""
    steps = {
        stage: [step for one in sources(facts).values() for step in one["funnel"] if step["stage"] == stage]
        for stage in TITLES
    }

    def total(stage: str, side: str, unit: str) -> int | None:
        return sum(step[side][unit] for step in steps[stage]) if steps[stage] else None

    def lost(stage: str) -> str:
        given, kept = total(stage, "in", "documents"), total(stage, "kept", "documents")
        return percent((given - kept) / given) if given and kept is not None else "–"

    made = total("ingest", "kept", "documents")
    clean, size_of = total("decontaminate", "kept", "documents"), total("decontaminate", "kept", "bytes")
    tokens, encoded = total("shards", "kept", "tokens"), total("shards", "kept", "bytes")
    ratio = f"{encoded / tokens:.2f} bytes a token" if tokens and encoded else "not measured"
    tile = ("value", "label", "note")
    return [
        dict(zip(tile, values, strict=True))
        for values in (
            (_count(total("ingest", "in", "documents")), "raw records", _documents(made)),
            (lost("curate"), "removed by curation", "of documents"),
            (lost("dedup"), "duplicates", "of curated documents"),
            (_count(clean), "clean documents", size(size_of)),
            (_count(tokens), "tokens", ratio),
        )
    ]  # fmt: skip


def _count(number: int | None) -> str:
    return "–" if number is None else count(number)


def _documents(number: int | None) -> str:
    return "not measured" if number is None else f"{count(number)} documents"


def kinds(facts: dict[str, Any]) -> list[dict[str, Any]]:
    """The groups of removed documents by remover, the most frequent first: `by`, `groups`."""
    groups = facts["corpus"]["removed"]
    return [
        {"stage": stage, "by": by, "groups": sorted(there, key=lambda one: (-one["documents"], one["reason"]))}
        for stage, by in REMOVERS.items()
        if (there := [group for group in groups if group["stage"] == stage])
    ]


def reason(group: dict[str, Any]) -> str:
    """A reason in words."""
    name = group["reason"].replace("_", " ")
    return f"{name}: {DUPLICATES[group['reason']]}" if group["reason"] in DUPLICATES else name


def language(code: str) -> str:
    """`bg` as Bulgarian; a code without a name here as it is."""
    return LANGUAGES.get(code, code or "not told")


def encoded(facts: dict[str, Any]) -> list[dict[str, Any]]:
    """Tokens of each source: in training text, held out, and bytes a token."""
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


def boilerplate(facts: dict[str, Any]) -> list[dict[str, Any]]:
    """What was cut out of documents that stay: what, how much, what `copies` of the examples count."""
    found = [
        _cut(f"Repeated lines of {name}", source["repeated_lines"], "lines", "documents")
        for name, source in sources(facts).items()
        if source["repeated_lines"]
    ]
    passages = facts["corpus"]["passages"]
    return found + ([_cut("Repeated passages", passages, "passages", "times cut")] if passages else [])


def _cut(what: str, table: dict[str, Any], unit: str, copies: str) -> dict[str, Any]:
    measured = table["measured"]
    amount = f"{count(measured[unit])} {unit}, {size(measured['bytes'])}"
    return {"what": what, "amount": amount, "copies": copies, "examples": table["examples"]}


def found_duplicates(facts: dict[str, Any]) -> dict[str, int]:
    """Clusters, and documents in them, as far as sizes are told."""
    clusters = facts["corpus"]["clusters"]
    return {
        "clusters": sum(one["clusters"] for one in clusters),
        "largest": int(facts["metrics"].get("dedup", {}).get("largest_cluster", 0)),
    }
