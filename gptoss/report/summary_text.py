"""The sentences and key figures of the report that depend on its facts."""

from __future__ import annotations

from typing import Any

from gptoss.core.formatting import count, decimal, duration, percent, size, words
from gptoss.report.run_history import RunHistory
from gptoss.report.tables import funnel


def base_bits(facts: dict[str, Any]) -> dict[str, Any]:
    """Bits per byte of the base model and the baselines on the same text; empty when not measured."""
    return facts["evaluation"]["bits_per_byte"].get("base") or {}


def summary(facts: dict[str, Any], history: RunHistory) -> str:
    """The whole run in one paragraph."""
    parts = [_training_text(facts), _prediction(facts), _cost(facts, history), _exam_scores(facts)]
    return " ".join(part for part in parts if part)


def _training_text(facts: dict[str, Any]) -> str:
    text = funnel(facts)[-1]["clean"] if facts["corpus"]["sources"] else None
    # "a, b and c".
    sources = " and ".join(", ".join(facts["corpus"]["sources"]).rsplit(", ", 1))
    size_of = words(facts["model"]["parameters"])
    start = f"gpt-oss/{facts['name']} is a language model of {size_of} parameters, trained from scratch"
    if text is None:
        return f"{start}."
    return f"{start} on {count(text['documents'])} documents, {size(text['bytes'])} of text, from {sources}."


def _prediction(facts: dict[str, Any]) -> str:
    measured = base_bits(facts)
    if not measured:
        return "Its prediction of held-out text was not measured."
    sentence = f"It needs {decimal(measured['model'], 2)} bits to predict a byte of held-out text"
    comparisons = []
    # The unigram is left out: even a barely trained model is better.
    for name, label in (("trigram", "a byte trigram"), ("fivegram", "a byte 5-gram")):
        if level := measured.get("baselines", {}).get(name):
            change = 1 - measured["model"] / level
            relation = "fewer" if change >= 0 else "more"
            comparisons.append(f"{percent(abs(change), 0)} {relation} than {label} ({decimal(level, 2)})")
    return f"{sentence}: {', '.join(comparisons)}." if comparisons else f"{sentence}."


def _cost(facts: dict[str, Any], history: RunHistory) -> str:
    recipe = facts["recipe"]
    train = facts["tokenizer"]["splits"].get("train", {})
    # More than about four passes over the same text bring little (Muennighoff et al. 2023, arXiv:2305.16264), so a
    # reader should see the number.
    passes = f", {recipe['tokens'] / train['tokens']:.1f} passes over its text" if train.get("tokens") else ""
    pretrain = history.run_of("pretrain")
    time = f" in {duration(pretrain.seconds)}" if pretrain else ""
    total = f"; all stages together took {duration(history.seconds)}" if history.seconds else ""
    return f"Pretraining read {words(recipe['tokens'])} tokens{passes}{time}{total}."


def _exam_scores(facts: dict[str, Any]) -> str:
    guessed, asked = _at_guessing(facts, "gpt4")
    if not asked:
        return ""
    if guessed == asked:
        return "On the multiple-choice exams of the GPT-4 report its scores cannot be distinguished from guessing."
    return (
        f"On {asked - guessed} of the {asked} multiple-choice scores in the GPT-4 report's exams it differs from "
        "guessing by more than two standard errors."
    )


def _at_guessing(facts: dict[str, Any], suite: str) -> tuple[int, int]:
    """How many multiple-choice scores of a suite are at the level of guessing, and how many there are."""
    verdicts = [
        cell["verdict"]
        for row in facts["evaluation"]["rows"]
        if row["suite"] == suite
        for cell in row["heads"].values()
        if cell["verdict"]
    ]
    return verdicts.count("at"), len(verdicts)


def caveats(facts: dict[str, Any]) -> list[str]:
    """What the comparison with GPT-4 does and does not show."""
    rows = facts["evaluation"]["rows"]
    if not rows:
        return []
    sentences = []
    guessed, asked = _at_guessing(facts, "gpt4")
    if not asked:
        # A run without the GPT-4 suite still has multiple-choice items.
        guessed, asked = _at_guessing(facts, "smoke")
    if asked:
        ending = (
            "This model does not know the answers: that a score is above another one means nothing."
            if guessed == asked
            else "Scores at the level of guessing show no knowledge."
        )
        sentences.append(
            f"{guessed} of {asked} multiple-choice scores lie within two standard errors of guessing. {ending}"
        )
    limited = [row for row in rows if row["limited"]]
    if limited:
        # The row with the fewest items has the largest error.
        fewest = min((cell["n"] or 0) for row in limited for cell in row["heads"].values())
        sentences.append(
            f"{len(limited)} of {len(rows)} rows were measured on part of their items, some on only {count(fewest)}. "
            f"With {count(fewest)} items one answer changes the score by {100 / max(1, fewest):.3g} points. "
            "With evaluate.limit: null all items are evaluated."
        )
    if any(row["baseline"] and not row["baseline"].get("same_protocol") for row in rows):
        sentences.append(
            "GPT-4's figures are those its authors published; they were not measured again here. Rows marked "
            "“different” use another protocol, so the distance between the scores is only a rough guide."
        )
    return sentences


def safety(facts: dict[str, Any]) -> str:
    """Whether the Instruct model refuses harmful requests, and only those."""
    found = facts["evaluation"].get("safety")
    if not found:
        return ""
    # Compliance is measured on harmful prompts, so its complement is the rate of refusals.
    complied, refused = found["compliance"], found["over_refusal"]
    return (
        f"Of {count(complied['n'])} harmful requests the model refused {_share(1 - complied['value'], complied)}, of "
        f"{count(refused['n'])} that only sound harmful {_share(refused['value'], refused)}. Refusals are detected by "
        "their wording, so a nonsensical answer does not count as one."
    )


def _share(value: float, of: dict[str, Any]) -> str:
    # Whole percent: with a few dozen prompts the standard error is several points.
    return percent(value, 0) if of["stderr"] is None else f"{percent(value, 0)} ± {percent(of['stderr'], 0)}"


def measurement(facts: dict[str, Any]) -> str:
    """How to read the scores, and how they were measured."""
    evaluation = facts["evaluation"]
    sentences = [
        "A value is followed by its standard error, which is 0 where all items scored alike.",
        "Clean items are those that were not found in the training text.",
        *(f"Published figures: {source}." for source in evaluation["published_figures"]),
        *(
            f"Measured with {harness}."
            for harness in dict.fromkeys(row["harness"] for row in evaluation["rows"])
            if harness
        ),
    ]
    if conditions := evaluation["conditions"]:
        starts = ", ".join(f"{suite} {rule}" for suite, rule in conditions["bos"].items())
        sentences.append(
            f"Batches of {conditions['batch_size']} in {conditions['arithmetic']}, examples drawn with seed "
            f"{conditions['fewshot_seed']}. Before a prompt: {starts}."
        )
    return " ".join(sentences)


def key_figures(facts: dict[str, Any], history: RunHistory) -> list[tuple[str, str, str]]:
    """The key figures at the top of the report: value, label and a note."""
    model, recipe, measured = facts["model"], facts["recipe"], base_bits(facts)
    text = funnel(facts)[-1]["clean"] if facts["corpus"]["sources"] else None
    pretrain = history.run_of("pretrain")
    speed = pretrain.metrics.get("tokens_per_second") if pretrain else None
    trigram = measured.get("baselines", {}).get("trigram")
    return [
        (words(model["parameters"]), "parameters", f"{model['layers']} layers, {count(model['hidden_size'])} wide"),
        (
            decimal(measured["model"], 2) if measured else "–",
            "bits per byte",
            f"byte trigram {decimal(trigram, 2)}" if trigram is not None else "not measured",
        ),
        (
            size(text["bytes"]) if text else "–",
            "of clean text",
            f"{count(text['documents'])} documents" if text else "not measured",
        ),
        (
            words(recipe["tokens"]),
            "training tokens",
            f"{count(speed)} per second" if speed else f"{count(recipe['steps'])} steps",
        ),
        (
            duration(history.seconds) if history.seconds else "–",
            "all stages",
            f"pretraining {duration(pretrain.seconds)}" if pretrain else "not observed",
        ),
    ]


def preparation(facts: dict[str, Any]) -> list[str]:
    """What was done to the text besides removing documents."""
    metrics = facts["metrics"]
    # Added up over all sources, whose stages log them one by one.
    skipped: dict[str, int] = {}
    redacted: dict[str, int] = {}
    for values in metrics.values():
        for sums, key in ((skipped, "skipped"), (redacted, "redacted")):
            for kind, number in values.get(key, {}).items() if isinstance(values.get(key), dict) else ():
                sums[kind] = sums.get(kind, 0) + number
    sentences = []
    if skipped:
        parts = [f"{kind.replace('_', ' ')} {count(number)}" for kind, number in sorted(skipped.items())]
        sentences.append(f"Raw records that are not documents were skipped: {', '.join(parts)}.")
    if redacted:
        names = {"email": "e-mail addresses", "ip": "IP addresses"}
        parts = [f"{count(number)} {names.get(kind, kind)}" for kind, number in redacted.items() if number]
        sentences.append(f"{' and '.join(parts) or 'No e-mail or IP address'} {'were' if parts else 'was'} replaced.")
    found = metrics.get("decontaminate", {})
    if "items_touched" in found:
        sentences.append(
            f"{count(found['items_touched'])} of {count(found['items'])} benchmark items share word n-grams with the "
            "text; decontamination removed or cut the documents that contain them."
        )
    return sentences


def instruct(facts: dict[str, Any]) -> list[str]:
    """Training conversations of Instruct, and its loss before and after."""
    measured = facts["metrics"].get("instruct", {})
    sentences = []
    conversations = measured.get("conversations", {})
    if conversations.get("train"):
        held_out = conversations.get("held_out")
        aside = f"; {count(held_out)} more were held out" if held_out else ""
        sentences.append(f"It was trained on {count(conversations['train'])} conversations{aside}.")
    losses = measured.get("held_out", {})
    if "loss" in losses and "loss_before" in losses:
        sentences.append(
            f"Its loss on held-out conversations went from {decimal(losses['loss_before'], 2)} to "
            f"{decimal(losses['loss'], 2)} nats per token."
        )
    return sentences
