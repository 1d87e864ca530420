"""Rows of the report's tables: columns and cells, the same for HTML and Markdown.

`templates/html.jinja` describes columns ("#Name" holds numbers) and cells (a text, or [text, note]).
"""

from __future__ import annotations

from typing import Any

from gptoss.core import paths
from gptoss.core.formatting import count, decimal, percent, significant, size
from gptoss.eval_items.suites import suite_titles, task_infos
from gptoss.report.run_history import RunHistory

NGRAM_NAMES = {"unigram": "unigram", "trigram": "trigram", "fivegram": "5-gram"}
STAGES = ("ingested", "curated", "deduped", "clean")
REMOVERS = {"curate": "curation", "dedup": "deduplication", "decontaminate": "decontamination"}

# Removed documents shown per reason; the facts hold ten, which the data page shows.
SAMPLES = 3

Cells = list[Any]


def task_name(task: str) -> str:
    """The label of a task; its plain name if no suite of this checkout has it."""
    info = task_infos().get(task)
    return info.label if info else task


def funnel(facts: dict[str, Any]) -> list[dict[str, Any]]:
    """One row per source and one for all: raw files, then documents and bytes after each stage."""
    sources = facts["corpus"]["sources"]
    rows = [{"name": name, **{stage: source[stage] for stage in ("raw", *STAGES)}} for name, source in sources.items()]
    if len(rows) > 1:
        rows.append({"name": "all", **{stage: _total([row[stage] for row in rows]) for stage in ("raw", *STAGES)}})
    for row in rows:
        clean, ingested = row["clean"], row["ingested"]
        row["kept"] = clean["bytes"] / ingested["bytes"] if clean and ingested and ingested["bytes"] else None
    return rows


def _total(amounts: list[dict[str, int] | None]) -> dict[str, int] | None:
    known = [amount for amount in amounts if amount]
    return {key: sum(amount[key] for amount in known) for key in known[0]} if known else None


def amount(entry: dict[str, int] | None, unit: str = "documents") -> str | Cells:
    """A cell with a number of documents or files, and their bytes."""
    return [count(entry[unit]), size(entry["bytes"])] if entry else "–"


def removal_reasons(facts: dict[str, Any]) -> list[dict[str, Any]]:
    """The groups of removed documents in pipeline order, the most frequent reason of each stage first."""
    order = list(REMOVERS)
    return sorted(
        ({**group, "by": REMOVERS[group["stage"]]} for group in facts["corpus"]["removed"]),
        key=lambda group: (order.index(group["stage"]), -group["documents"], group["reason"]),
    )


def by_source(group: dict[str, Any]) -> str:
    """Documents of each source in a group of removed documents."""
    return ", ".join(f"{source} {count(part['documents'])}" for source, part in group["sources"].items())


def rejected_examples(group: dict[str, Any]) -> str:
    """Where the first rejected raw records of a reason are, with details."""
    places = ((sample["locator"] or sample["origin"], sample["detail"]) for sample in group["samples"])
    return "; ".join(f"{place}: {detail}" if detail else place for place, detail in places)


def excerpt_text(runs: list[list[Any]]) -> str:
    """The text of an excerpt without the marks of differences."""
    return " ".join(text for text, _ in runs)


def bytes_per_token(facts: dict[str, Any]) -> list[dict[str, Any]]:
    """Documents, bytes and tokens of each source's training text, and of each split."""
    splits = facts["tokenizer"]["splits"]
    rows = [{"name": name, **entry} for name, entry in sorted((splits.get("train", {}).get("sources") or {}).items())]
    titles = {"train": "all training text", "validation": "held-out text"}
    rows += [{"name": titles.get(split, split), **entry} for split, entry in sorted(splits.items())]
    for row in rows:
        row["ratio"] = row["bytes"] / row["tokens"] if row.get("bytes") and row.get("tokens") else None
    return rows


def ending(sample: dict[str, Any], facts: dict[str, Any]) -> str:
    """How generation ended; empty when that was not recorded."""
    if sample["stopped"] is None:
        return ""
    limit = count(facts["recipe"]["max_new_tokens"])
    return "stopped by itself" if sample["stopped"] else f"cut off at {limit} tokens"


def suites(facts: dict[str, Any]) -> list[dict[str, Any]]:
    """The scores, one table per suite; with the published figures where the suite has any."""
    heads, rows = facts["evaluation"]["heads"], facts["evaluation"]["rows"]
    tables = []
    for suite in dict.fromkeys(row["suite"] for row in rows):
        of_suite = [row for row in rows if row["suite"] == suite]
        published = any(row["baseline"] for row in of_suite)
        last = ["#GPT-4", "+Its protocol"] if published else ["+Protocol"]
        tables.append(
            {
                "title": suite_titles().get(suite, suite),
                "columns": [
                    "Task",
                    "#Shots",
                    "#Items",
                    *(f"#{head.capitalize()}" for head in heads),
                    "#Guessing",
                    *last,
                ],
                "rows": [_scores(row, heads, published) for row in of_suite],
            }
        )
    return tables


def _scores(row: dict[str, Any], heads: list[str], published: bool) -> Cells:
    baseline = row["baseline"]
    cells = [
        [task_name(row["task"]), row["metric"]],
        "–" if row["shots"] is None else row["shots"],
        items(row),
        *([score(row, head), clean_score(row, head)] for head in heads),
        "–" if row["chance"] is None else percent(row["chance"], 0),
    ]
    if not published:
        return [*cells, row["protocol"]]
    if not baseline:
        return [*cells, "–", ""]
    shots = "" if baseline.get("shots") is None else f"{baseline['shots']} shots"
    protocol = "same" if baseline.get("same_protocol") else "different"
    return [*cells, [percent(baseline["value"]), shots], [protocol, baseline.get("note")]]


def score(row: dict[str, Any], head: str) -> str:
    """A value with its standard error, in percent if it is a share."""
    cell = row["heads"].get(head)
    if cell is None or cell["value"] is None:
        return "–"
    value, error = cell["value"], cell["stderr"]
    factor, digits = (100, 1) if 0 <= value <= 1 else (1, 2)
    return decimal(factor * value, digits) + ("" if error is None else f" ± {factor * error:.{digits}f}")


def items(row: dict[str, Any]) -> str:
    """How many items were evaluated, of how many there are."""
    evaluated = max((cell["n"] or 0 for cell in row["heads"].values()), default=0)
    return f"{count(evaluated)} of {count(row['items'])}" if row["items"] else count(evaluated)


def clean_score(row: dict[str, Any], head: str) -> str:
    """The score on items that were not found in the training text; empty where none were found or measured."""
    cell = row["heads"].get(head, {})
    clean = cell.get("clean")
    if not clean or clean.get("value") is None or clean.get("n") == cell.get("n"):
        return ""
    return f"{percent(clean['value'])} on {count(clean['n'])} clean items"


def open_models(facts: dict[str, Any]) -> dict[str, Any]:
    """The published figures of other models, such as `66.6 (5)`: percent (shots)."""
    models = [model for model in facts["evaluation"]["published"] if model["figures"]]
    tasks = [task for task in task_infos() if any(task in model["figures"] for model in models)]
    rows = []
    for model in models:
        figures = [model["figures"].get(task) for task in tasks]
        rows.append([model["model"], *(f"{f['value']:g} ({f['shots']})" if f else "–" for f in figures)])
    return {"columns": ["Model", *(f"#{task_name(task)}" for task in tasks)], "rows": rows}


def calibration_remarks(facts: dict[str, Any]) -> list[str]:
    """Calibration and answer lengths, one sentence each per head; empty where nothing was measured."""
    sentences = []
    for head in facts["evaluation"]["heads"]:
        cells = [row["heads"][head] for row in facts["evaluation"]["rows"] if head in row["heads"]]
        bins = [entry for cell in cells if cell["calibration"] for entry in cell["calibration"]["bins"]]
        lengths = [cell["answer_tokens"] for cell in cells if cell["answer_tokens"]]
        if number := sum(entry["n"] for entry in bins):
            # Signed, unlike the expected calibration error: it says whether the model is over- or underconfident.
            gap = sum(entry["n"] * (entry["confidence"] - entry["accuracy"]) for entry in bins) / number
            relation = "higher" if gap >= 0 else "lower"
            difference = f"on average {percent(abs(gap))} {relation} than accuracy"
            sentences.append(f"{head.capitalize()}: confidence in a choice is {difference}.")
        if lengths:
            tokens = sum(entry["mean"] for entry in lengths) / len(lengths)
            cut = count(sum(entry["cut"] for entry in lengths))
            sentences.append(
                f"{head.capitalize()}: written answers have {tokens:.0f} tokens on average; {cut} were cut off."
            )
    return sentences


def subjects(facts: dict[str, Any]) -> list[dict[str, Any]]:
    """The tasks that have subsets, with one row per subset and the score of each head."""
    tables = []
    for row in facts["evaluation"]["rows"]:
        subsets = {head: cell["subsets"] or {} for head, cell in row["heads"].items()}
        names = sorted({name for scores in subsets.values() for name in scores})
        if not names:
            continue
        columns = ["Subject"]
        for head in subsets:
            columns += [f"#{head.capitalize()}", "#Items"]
        rows = []
        for name in names:
            found = [scores.get(name) for scores in subsets.values()]
            cells = [[percent(s["value"]), count(s["n"])] if s else ["–", ""] for s in found]
            rows.append([name.replace("_", " "), *(text for pair in cells for text in pair)])
        tables.append({"task": row["task"], "columns": columns, "rows": rows})
    return tables


def cost(history: RunHistory) -> list[dict[str, Any]]:
    """One row per stage with a run: wall time and its share of the longest, speed and peak memory."""
    timed = [(stage, stage.run) for stage in history.stages if stage.run]
    longest = max((run.seconds for _, run in timed), default=0.0) or 1.0
    return [
        {
            "stage": stage.name,
            "seconds": run.seconds,
            "bar": run.seconds / longest,
            "speed": _speed(run.metrics),
            "memory": _memory(run.metrics),
            "cluster": run.tags.get("gptoss.cluster", ""),
        }
        for stage, run in timed
    ]


def _speed(metrics: dict[str, float]) -> str:
    """The speed that a stage logged: tokens before bytes before anything else per second, whatever the prefix."""
    for ending_, shown in (("tokens_per_second", count), ("bytes_per_second", size)):
        for name, value in sorted(metrics.items()):
            if name.endswith(ending_):
                return f"{shown(value)}{' tokens' if shown is count else ''}/s"
    for name, value in sorted(metrics.items()):
        if name.endswith("_per_second"):
            unit = name.rsplit(".", 1)[-1].removesuffix("_per_second").replace("_", " ")
            return f"{significant(value)} {unit}/s"
    return ""


def _memory(metrics: dict[str, float]) -> str:
    if "peak_memory_bytes" in metrics:
        return size(metrics["peak_memory_bytes"])
    return f"{size(metrics['memory_mib'] * 2**20)} per rank" if "memory_mib" in metrics else ""


def bits_per_byte(facts: dict[str, Any]) -> list[dict[str, Any]]:
    """The heads and the byte n-grams, the best first."""
    unmeasured = {"bytes": None, "tokens": None}
    measured = {head: value for head, value in facts["evaluation"]["bits_per_byte"].items() if value}
    rows = [
        unmeasured | value | {"name": f"{head.capitalize()} model", "value": value["model"]}
        for head, value in measured.items()
    ]
    # Both heads are measured on the same text, so the baselines of either are those of both.
    baselines = next(iter(measured.values()))["baselines"] if measured else {}
    rows += [
        unmeasured | {"name": f"Byte {NGRAM_NAMES.get(name, name)}", "value": value}
        for name, value in baselines.items()
    ]
    return sorted(rows, key=lambda row: float(row["value"]))


def gates(facts: dict[str, Any]) -> list[tuple[str, str]]:
    """Each published head, and the gates that it passed."""
    published = {
        stage.partition("@")[2]: values.get("gates")
        for stage, values in facts["metrics"].items()
        if stage.startswith("publish@")
    }
    return [
        (head, f": {len(passed)} gates passed ({', '.join(sorted(passed)).replace('_', ' ')})" if passed else "")
        for head, passed in published.items()
    ]


def folder(facts: dict[str, Any], head: str) -> str:
    """The published folder of a head."""
    return str(paths.published(facts["name"], head))


def commands(facts: dict[str, Any], history: RunHistory) -> list[tuple[str, str]]:
    """The commands that reproduce the run and verify it, each with a remark."""
    remark = "the run had uncommitted changes besides" if history.dirty else ""
    checkout = [(f"git checkout {history.commit}", remark)] if history.commit != "unknown" else []
    return [
        *checkout,
        ("make run", "set up, then every stage that is out of date"),
        ("make verify", "recompute every hash from the registry back to the raw files"),
        (f"cd {folder(facts, 'base')} && sha256sum -c checksums.sha256", "the published files"),
    ]
