"""Rows of the report's tables about the evaluation: bits per byte, scores, published figures."""

from __future__ import annotations

from typing import Any

from gptoss.core.formatting import count, decimal, percent
from gptoss.eval_items.suites import suite_titles, task_infos
from gptoss.report.tables import Cells

NGRAM_NAMES = {"unigram": "unigram", "trigram": "trigram", "fivegram": "5-gram"}


def task_name(task: str) -> str:
    """The label of a task; its plain name if no suite of this checkout has it."""
    info = task_infos().get(task)
    return info.label if info else task


def suites(facts: dict[str, Any]) -> list[dict[str, Any]]:
    """The scores, one table per suite; with the published figures where the suite has any."""
    variants, rows = facts["evaluation"]["heads"], facts["evaluation"]["rows"]
    tables = []
    for suite in dict.fromkeys(row["suite"] for row in rows):
        of_suite = [row for row in rows if row["suite"] == suite]
        published = any(row["baseline"] for row in of_suite)
        # Only GPT-4's suite has published figures to compare with.
        last = ["#GPT-4", "+Its protocol"] if published else ["+Protocol"]
        tables.append(
            {
                "title": suite_titles().get(suite, suite),
                "columns": [
                    "Task",
                    "#Shots",
                    "#Items",
                    *(f"#{variant.capitalize()}" for variant in variants),
                    "#Guessing",
                    *last,
                ],
                "rows": [_scores(row, variants, published) for row in of_suite],
            }
        )
    return tables


def _scores(row: dict[str, Any], variants: list[str], published: bool) -> Cells:
    baseline = row["baseline"]
    cells = [
        [task_name(row["task"]), row["metric"]],
        "–" if row["shots"] is None else row["shots"],
        items(row),
        *([score(row, variant), clean_score(row, variant)] for variant in variants),
        "–" if row["chance"] is None else percent(row["chance"], 0),
    ]
    if not published:
        return [*cells, row["protocol"]]
    if not baseline:
        return [*cells, "–", ""]
    shots = "" if baseline.get("shots") is None else f"{baseline['shots']} shots"
    protocol = "same" if baseline.get("same_protocol") else "different"
    return [*cells, [percent(baseline["value"]), shots], [protocol, baseline.get("note")]]


def score(row: dict[str, Any], variant: str) -> str:
    """A value with its standard error, in percent if it is a share."""
    cell = row["heads"].get(variant)
    if cell is None or cell["value"] is None:
        return "–"
    value, error = cell["value"], cell["stderr"]
    factor, digits = (100, 1) if 0 <= value <= 1 else (1, 2)
    return decimal(factor * value, digits) + ("" if error is None else f" ± {factor * error:.{digits}f}")


def items(row: dict[str, Any]) -> str:
    """How many items were evaluated, of how many there are."""
    # Both variants are asked the same items; one of them may lack a row.
    evaluated = max((cell["n"] or 0 for cell in row["heads"].values()), default=0)
    return f"{count(evaluated)} of {count(row['items'])}" if row["items"] else count(evaluated)


def clean_score(row: dict[str, Any], variant: str) -> str:
    """The score on items that were not found in the training text; empty where none were found or measured."""
    cell = row["heads"].get(variant, {})
    clean = cell.get("clean")
    # Equal numbers mean that no item was found, and the score would be repeated.
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
    """Calibration and answer lengths, one sentence each per variant; empty where nothing was measured."""
    sentences = []
    for variant in facts["evaluation"]["heads"]:
        cells = [row["heads"][variant] for row in facts["evaluation"]["rows"] if variant in row["heads"]]
        bins = [entry for cell in cells if cell["calibration"] for entry in cell["calibration"]["bins"]]
        lengths = [cell["answer_tokens"] for cell in cells if cell["answer_tokens"]]
        if number := sum(entry["n"] for entry in bins):
            # Signed, unlike the expected calibration error: it says whether the model is over- or underconfident.
            gap = sum(entry["n"] * (entry["confidence"] - entry["accuracy"]) for entry in bins) / number
            relation = "higher" if gap >= 0 else "lower"
            difference = f"on average {percent(abs(gap))} {relation} than accuracy"
            sentences.append(f"{variant.capitalize()}: confidence in a choice is {difference}.")
        if lengths:
            tokens = sum(entry["mean"] for entry in lengths) / len(lengths)
            cut = count(sum(entry["cut"] for entry in lengths))
            sentences.append(
                f"{variant.capitalize()}: written answers have {tokens:.0f} tokens on average; {cut} were cut off."
            )
    return sentences


def subjects(facts: dict[str, Any]) -> list[dict[str, Any]]:
    """The tasks that have subsets, with one row per subset and the score of each variant."""
    tables = []
    for row in facts["evaluation"]["rows"]:
        # Sets of one task can differ between variants when one was asked fewer items.
        subsets = {variant: cell["subsets"] or {} for variant, cell in row["heads"].items()}
        names = sorted({name for scores in subsets.values() for name in scores})
        if not names:
            continue
        columns = ["Subject"]
        for variant in subsets:
            columns += [f"#{variant.capitalize()}", "#Items"]
        rows = []
        for name in names:
            found = [scores.get(name) for scores in subsets.values()]
            cells = [[percent(s["value"]), count(s["n"])] if s else ["–", ""] for s in found]
            rows.append([name.replace("_", " "), *(text for pair in cells for text in pair)])
        tables.append({"task": row["task"], "columns": columns, "rows": rows})
    return tables


def bits_per_byte(facts: dict[str, Any]) -> list[dict[str, Any]]:
    """The variants and the byte n-grams, the best first."""
    unmeasured = {"bytes": None, "tokens": None}
    measured = {variant: value for variant, value in facts["evaluation"]["bits_per_byte"].items() if value}
    rows = [
        unmeasured | value | {"name": f"{variant.capitalize()} model", "value": value["model"]}
        for variant, value in measured.items()
    ]
    # Both variants are measured on the same text, so the baselines of either are those of both.
    baselines = next(iter(measured.values()))["baselines"] if measured else {}
    rows += [
        unmeasured | {"name": f"Byte {NGRAM_NAMES.get(name, name)}", "value": value}
        for name, value in baselines.items()
    ]
    return sorted(rows, key=lambda row: float(row["value"]))
