"""What each example of `docs/extending.md` does, run as `python -m tests.extension_checks CHECK` in a copy of the tree
that has the examples. Every check reaches its example by name, as a configuration does."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

EXAMPLES = {
    "reader": "gptoss/formats/jsonl.py",
    "filter": "gptoss/curate/filters/digits.py",
    "gate": "gptoss/publish/gates/license_included.py",
    "objective": "gptoss/train/objectives/token_dropout.py",
    "architecture": "gptoss/models/qwen2.py",
    "tokenizer": "gptoss/tokenizer/byte_level.py",
    "item_format": "gptoss/eval_items/formats/boolq.py",
    "task": "evals/tasks/boolq.yaml",
    "task_on_known_items": "evals/tasks/arc_challenge_zero_shot.yaml",
    "suite": "evals/suites/reading.yaml",
    "cluster": "infra/clusters/h100-80gb-16.yaml",
}
"""The file that each check is about."""


def settings(**changes: Any) -> Any:
    """The tiny settings of the copy with changes by dotted key."""
    from gptoss.config.settings import Settings
    from gptoss.config.yaml_sections import check, load_yaml

    values = load_yaml(Path("profiles/tiny.yaml"))
    for key, value in changes.items():
        *parents, last = key.split(".")
        section = values
        for parent in parents:
            section = section[parent]
        section[last] = value
    return check(Settings, values, origin="test")


def check_reader() -> None:
    """The stage `ingest` reads a compressed file of good and broken lines."""
    import gzip

    import pyarrow.parquet as pq

    from gptoss.core import paths
    from gptoss.tracking.mlflow_run import StageRun
    from stages.ingest import ingest

    lines = [b'{"text": "One.", "title": "First", "url": "https://a.example/1"}', b'{"text": ""}', b"{", b'{"text": 1}']
    lines += [b'{"text": "\xff"}', b'{"text": "Two."}']
    Path("raw.jsonl.gz").write_bytes(gzip.compress(b"\n".join(lines)))
    source = {"format": "jsonl", "urls": ["raw.jsonl.gz"], "license": "L", "language": "en"}
    config = settings(**{"sources": {"sample": source}, "ingest.max_reject_fraction": 0.9})
    counts = ingest(config, StageRun("ingest@sample"), "sample")
    assert counts["documents"] == 2, counts
    documents = pq.read_table(paths.documents("sample") / "documents-00000.parquet").to_pylist()
    assert [(row["text"], row["title"], row["url"]) for row in documents] == [
        ("One.", "First", "https://a.example/1"),
        ("Two.", "", "raw.jsonl.gz#line 6"),
    ]
    rejected = pq.read_table(paths.documents("sample") / "rejected.parquet").to_pylist()
    assert [(row["locator"], row["reason"]) for row in rejected] == [
        ("line 3", "not JSON"), ("line 4", "no text"), ("line 5", "not JSON"),
    ]  # fmt: skip


def check_filter() -> None:
    """The task of `curate` removes the document with too many digits and gives the reason."""
    import pyarrow.parquet as pq

    from gptoss.curate.curate_file import curate_file, output_files
    from gptoss.curate.filters import FilterContext, create_filters, prepare_filters
    from tests.documents import write_documents

    off = settings()
    context = FilterContext([], off.curate, off.sources["wikipedia"], Path())
    assert "digits" not in prepare_filters(context)
    on = settings(**{"curate.filters": {"digits": {"max_fraction": 0.2}}})
    prepared = prepare_filters(dataclasses.replace(context, curate=on.curate))
    assert [each.name for each in create_filters(prepared)][-1] == "digits"
    texts = {"words": "a text of words", "table": "12 345 6789", "empty": ""}
    blank = {"source": "wikipedia", "url": "", "title": "", "language": "en", "license": "L", "meta": "{}"}
    Path("filtered/out").mkdir(parents=True)
    write_documents(Path("filtered"), ({"id": name, "text": text} | blank for name, text in texts.items()))
    file = "filtered/documents-00000.parquet"
    counts = curate_file(file, "filtered/out", {"digits": prepared["digits"]})["counts"]
    kept, removed, _ = output_files(Path(file), Path("filtered/out"))
    assert pq.read_table(kept).column("id").to_pylist() == ["words", "empty"]
    rows = pq.read_table(removed).to_pylist()
    assert [(row["id"], row["reason"], row["detail"]) for row in rows] == [
        ("table", "digits", "digits 0.818182 > 0.2"),
    ]  # fmt: skip
    assert counts["removed.digits"] == 1


def check_gate() -> None:
    """The gate is measured by `publish`, and fails for a folder without a licence."""
    from gptoss.core import paths
    from gptoss.core.atomic_files import read_json
    from gptoss.core.errors import DataError
    from gptoss.publish.gates import GATES
    from tests.publish.toy import make_inputs, run_publish

    sizes = {
        "model.hidden_size": 32, "model.layers": 2, "model.ffn_size": 64, "model.context": 128,
        "tokenizer.vocab_size": 384, "instruct.max_length": 128,
    }  # fmt: skip
    make_inputs()
    config = settings(**sizes)
    run_publish(config)
    gates = read_json(paths.published("tiny", "base") / "gates.json")["gates"]
    (passed,) = [gate for gate in gates if gate["name"] == "license_included"]
    assert passed == {
        "name": "license_included", "value": 0, "bound": 0, "detail": "missing or empty: none", "passed": True,
    }  # fmt: skip
    assert len(gates) == len(GATES) and gates[-1]["name"] == "checksums"
    Path("LICENSE").write_bytes(b"")
    try:
        run_publish(config)
    except DataError as error:
        assert "license_included: 1, bound 0 (missing or empty: LICENSE)" in error.problem, error.problem
    else:
        raise AssertionError("a folder without a licence was published")


def check_objective() -> None:
    """Inputs hide about a tenth of the tokens, targets none, and a sample does not depend on its batch."""
    import numpy as np

    from gptoss.config.extensions import OBJECTIVES, load
    from gptoss.config.tokenizer import END_OF_TEXT, PADDING

    config = settings(**{"pretrain.objective": "token_dropout"})
    examples = load(OBJECTIVES, config.pretrain.objective).examples
    ids = config.tokenizer.special_ids
    windows = np.random.default_rng(0).integers(10, 300, (64, 257))
    windows[:, ::9] = ids[END_OF_TEXT]
    samples = np.arange(64)
    inputs, targets = examples(windows, samples, config)
    assert inputs.shape == targets.shape == (64, 256) and np.array_equal(targets, windows[:, 1:])
    hidden = inputs == ids[PADDING]
    assert np.array_equal(inputs[~hidden], windows[:, :-1][~hidden])
    assert 0.08 < hidden.sum() / (windows[:, :-1] != ids[END_OF_TEXT]).sum() < 0.12
    assert not (hidden & (windows[:, :-1] == ids[END_OF_TEXT])).any()
    alone, _ = examples(windows[5:6], samples[5:6], config)
    assert np.array_equal(alone, inputs[5:6])


def check_architecture() -> None:
    """The decoder has the logits of the stock class, to the last bit."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    from gptoss.models.architecture import architecture, stock_classes
    from gptoss.models.decoder import Decoder, hugging_face_config, initial_value, parameter_count

    sizes = {"model.architecture": "qwen2", "model.heads": 4, "model.kv_heads": 2}
    model = settings(**sizes).model
    assert "Qwen2ForCausalLM" in stock_classes() and architecture("qwen2").DESCRIPTION
    decoder = Decoder(model, 320, range(model.layers))
    with torch.no_grad():
        for name, parameter in decoder.named_parameters():
            parameter.copy_(initial_value(name, parameter.shape, model, 1)).add_(
                torch.randn(parameter.shape), alpha=0.1
            )
    stock = AutoModelForCausalLM.from_config(AutoConfig.for_model(**hugging_face_config(model, 320)))
    assert type(stock).__name__ == "Qwen2ForCausalLM"
    stock.load_state_dict(decoder.state_dict(), strict=True)
    assert stock.num_parameters() == parameter_count(model, 320)
    tokens = torch.randint(0, 320, (2, 64))
    with torch.no_grad():
        assert torch.equal(decoder(tokens), stock(tokens).logits)


def check_tokenizer() -> None:
    """The stage's own training and checks accept it: any text is encoded and decodes to itself."""
    import numpy as np

    from gptoss.config.tokenizer import SPECIAL_TOKENS
    from gptoss.tokenizer import folder
    from gptoss.tokenizer.round_trip import check_round_trip
    from gptoss.tokenizer.sample import TokenizerSample
    from gptoss.tokenizer.train import train_tokenizer
    from tests.documents import write_documents

    Path("clean").mkdir()
    write_documents(Path("clean"), [{"id": "a", "text": "some text " * 50, "source": "web"}])
    config = settings(**{"tokenizer.algorithm": "byte_level"}).tokenizer
    trained = train_tokenizer(config, TokenizerSample(Path("clean"), np.array([True]), 500))
    assert trained.get_vocab_size() == 256 + len(SPECIAL_TOKENS)
    assert [trained.token_to_id(token) for token in SPECIAL_TOKENS] == [0, 1, 2, 3]
    Path("tokenizer").mkdir()
    folder.write(Path("tokenizer"), trained, 256)
    counts = check_round_trip(folder.read(Path("tokenizer")), [("Zürich", "web")])
    assert (counts["web"].bytes, counts["web"].tokens) == (7, 7)


BOOLQ = [
    {"passage": "Rome is in Italy.", "question": "is rome in italy", "answer": True},
    {"passage": "Oslo is in Norway.", "question": "is oslo in italy", "answer": False},
]


def frozen() -> dict[str, Any]:
    """Freeze all suites, BoolQ from a mirror of the hub. Returns `index.json`."""
    from gptoss.core import paths
    from gptoss.core.atomic_files import read_json
    from gptoss.tracking.mlflow_run import StageRun
    from stages.benchmarks import benchmarks
    from tests.publish.toy import write_lines

    write_lines(Path("mirror/google/boolq/validation.jsonl"), BOOLQ)
    benchmarks(settings(**{"benchmarks.gpt4": "mirror", "benchmarks.mirror": "mirror"}), StageRun("benchmarks"))
    index: dict[str, Any] = read_json(paths.BENCHMARKS / "index.json")
    return index


def prompts(suite: str, name: str, items_of: str) -> list[tuple[str, list[str], int]]:
    """Prompt, choices and right answer of each item, as lm-eval makes them of the task's file."""
    from gptoss.core import paths
    from gptoss.eval_items.suites import load_suite
    from gptoss.evaluate.tasks import build_task, read_subsets

    files = [entry for entry in frozen()["items"] if (entry["suite"], entry["task"]) == (suite, items_of)]
    (subset,), total = read_subsets(paths.BENCHMARKS, files, None)
    task = build_task(name, load_suite(suite).tasks[name], subset, 64)
    assert total == len(subset.evaluated)
    return [(task.doc_to_text(doc), task.doc_to_choice(doc), task.doc_to_target(doc)) for doc in subset.evaluated]


def check_item_format() -> None:
    """Items are frozen with their columns, and decontamination gets their text."""
    import pyarrow.parquet as pq

    from gptoss.core import paths

    (entry,) = [entry for entry in frozen()["items"] if entry["task"] == "boolq"]
    rows = pq.read_table(paths.BENCHMARKS / entry["path"]).to_pylist()
    assert rows == [row | {"answer": int(bool(row["answer"]))} for row in BOOLQ]
    texts = pq.read_table(paths.BENCHMARKS / "texts.parquet").to_pylist()
    assert [row["text"] for row in texts if row["task"] == "boolq"] == ["is rome in italy", "is oslo in italy"]


def check_task() -> None:
    """lm-eval builds the prompts."""
    assert prompts("reading", "boolq", "boolq") == [
        ("Rome is in Italy.\nQuestion: is rome in italy?\nAnswer:", ["no", "yes"], 1),
        ("Oslo is in Norway.\nQuestion: is oslo in italy?\nAnswer:", ["no", "yes"], 0),
    ]


def check_task_on_known_items() -> None:
    """The task asks the frozen items of another task in its own way."""
    from gptoss.eval_items.suites import TaskInfo, load_suite, task_infos

    items = [json.loads(line) for line in Path("evals/smoke/arc_challenge.jsonl").read_text().splitlines()]
    made = prompts("smoke", "arc_challenge_zero_shot", "arc_challenge")
    assert [(text, choices) for text, choices, _ in made] == [
        (f"{item['question']}\n", item["choices"]["text"]) for item in items
    ]
    assert [item["answerKey"] for item in items] == ["ABCD"[target] for _, _, target in made]
    assert load_suite("smoke").source("arc_challenge_zero_shot") == "arc_challenge"
    assert task_infos()["arc_challenge_zero_shot"] == TaskInfo("ARC-Challenge, no examples", 0.25)


def check_suite() -> None:
    """The file alone makes the suite known: to the configuration, the report, and `gptoss baseline`."""
    from gptoss.eval_items.suites import TaskInfo, load_suites, suite_titles, task_infos

    assert settings(**{"evaluate.suites": ["reading"]}).evaluate.suites == ("reading",)
    assert "reading" in [suite.name for suite in load_suites()]
    assert suite_titles()["reading"] == "Reading comprehension"
    assert task_infos()["boolq"] == TaskInfo("BoolQ", 0.5)


def check_cluster() -> None:
    """The file is valid, and the sizes of its mesh fit the batch of a profile."""
    from gptoss.config.cluster import load_cluster
    from gptoss.config.profiles import compose
    from gptoss.config.settings import Settings
    from gptoss.config.yaml_sections import check
    from gptoss.train.run_config import divide_batch

    cluster = load_cluster("h100-80gb-16")
    assert cluster.mesh.size == cluster.nodes * cluster.processes_per_node == 16
    # Raises with the arithmetic when batch, layers or matrices do not divide over the mesh.
    layout = divide_batch(check(Settings, compose("1b", Path("profiles")), origin="1b"), cluster)
    assert layout.micro_batch == cluster.micro_batch and layout.sequences == 16 * layout.sequences_per_rank


if __name__ == "__main__":
    globals()[sys.argv[1]]()
