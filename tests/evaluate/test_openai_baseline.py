"""The baseline against a real HTTP server that speaks the completions protocol, with the tiny model behind it."""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from gptoss.cli.__main__ import parse as parse_command
from gptoss.config.settings import Settings
from gptoss.core import paths
from gptoss.core.atomic_files import read_json
from gptoss.core.errors import ClusterError, UserError
from gptoss.eval_items.suites import load_suite
from gptoss.evaluate import harness
from gptoss.evaluate.openai_baseline import Estimate, ServerOptions, answers_file, evaluate_server
from gptoss.evaluate.published_model import load
from tests.evaluate.conftest import CONTEXT


def parse(arguments: list[str]) -> ServerOptions:
    return ServerOptions(**vars(parse_command("baseline", arguments)[1]))


class Server(ThreadingHTTPServer):
    """Counts the requests."""

    model: Any
    asked: int = 0
    answers: float = math.inf
    """How many times it answers before it fails."""


class Completions(BaseHTTPRequestHandler):
    """`/v1/completions`: echoes a prompt with log-probabilities, or continues it greedily."""

    server: Server

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.server.asked >= self.server.answers:
            self.send_error(500)
            return
        self.server.asked += 1
        prompts = request["prompt"] if isinstance(request["prompt"][0], list) else [request["prompt"]]
        body = json.dumps({"choices": [self.choice(at, one, request) for at, one in enumerate(prompts)]}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def choice(self, index: int, prompt: Any, request: dict[str, Any]) -> dict[str, Any]:
        import torch

        model = self.server.model
        ids = model.tokenizer.encode(prompt) if isinstance(prompt, str) else prompt
        with torch.inference_mode():
            if not request.get("echo"):
                text = model.tokenizer.decode(
                    model.network.generate(torch.tensor([ids]), max_new_tokens=4, do_sample=False)[0, len(ids) :]
                )
                return {"index": index, "text": text}
            logprobs_TV = torch.log_softmax(model.network(torch.tensor([ids])).logits[0].float(), dim=-1)
        logprobs = [None, *(float(logprobs_TV[at, token]) for at, token in enumerate(ids[1:]))]
        best = [None, *({"": float(value)} for value in logprobs_TV.max(dim=-1).values)]
        ending = [float(logprobs_TV[-1].max())]
        return {"index": index, "text": "", "logprobs": {"token_logprobs": logprobs + ending, "top_logprobs": best}}

    def log_message(self, *_: Any) -> None:
        """Keep the output of the test clean."""


@pytest.fixture
def server(evaluated: Settings) -> Iterator[Server]:
    with Server(("127.0.0.1", 0), Completions) as running:
        running.model = load(paths.published("tiny", "base"))
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield running
        running.shutdown()


def words(server: Server, *more: str) -> list[str]:
    url = f"http://127.0.0.1:{server.server_address[1]}/v1/completions"
    return ["tiny", "--url", url, "--suite", "smoke", "--input-price", "2", "--output-price", "8", *more]


def test_a_server_gets_the_scores_of_the_model_behind_it(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    folder = str(paths.published("tiny", "base"))
    path = evaluate_server(parse(words(server, "--tokenizer", folder, "--context", str(CONTEXT + 1), "--yes")))
    found = {row["task"]: row for row in read_json(path)["rows"]}
    output = capsys.readouterr().out
    assert "winogrande: 48 requests" in output and "in total at most $" in output
    assert set(found) == set(load_suite("smoke").tasks) - {"humaneval"}
    lm = harness.language_model(server.model, 8)
    for name in ("winogrande", "arc_challenge"):
        task = load_suite("smoke").tasks[name]
        entries = [one for one in read_json(paths.BENCHMARKS / "index.json")["items"]
                   if (one["suite"], one["task"]) == ("smoke", name)]  # fmt: skip
        local = harness.run_task(lm, "smoke", name, task, entries, paths.BENCHMARKS, limit=None, max_new_tokens=16)
        for theirs, ours in zip(found[name]["samples"], local["samples"], strict=True):
            if not ours["truncated"]:  # the adapter cuts one token earlier
                assert theirs["log_likelihoods"] == pytest.approx(ours["log_likelihoods"], abs=1e-3)
                assert theirs["scores"] == ours["scores"]


def test_nothing_is_sent_without_confirmation(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("builtins.input", lambda _: "no")
    with pytest.raises(UserError, match="nothing was sent"):
        evaluate_server(parse(words(server)))
    assert server.asked == 0 and not (paths.REPORTS / "live").exists()


def test_without_a_tokenizer_only_written_answers_are_asked(
    server: Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("builtins.input", lambda _: "yes")
    found = read_json(evaluate_server(parse(words(server))))["rows"]
    assert {row["task"] for row in found} == {"drop", "gsm8k"}
    assert server.asked == 48 and "drop: 24 requests" in capsys.readouterr().out
    assert all(row["answer_tokens"] is None for row in found), "unknown without a tokenizer"


def test_what_a_server_answered_before_it_failed_is_not_asked_again(
    server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    server.answers = 30
    with pytest.raises(ClusterError, match="500"):
        evaluate_server(parse(words(server, "--yes")))
    server.answers = math.inf
    capsys.readouterr()
    found = read_json(evaluate_server(parse(words(server, "--yes"))))["rows"]
    output = capsys.readouterr().out
    assert server.asked == 30 + 24 and "drop: answered before" in output and "drop: 24 requests" not in output
    assert {row["task"]: len(row["samples"]) for row in found} == {"drop": 24, "gsm8k": 24}
    evaluate_server(parse(words(server, "--yes")))
    assert server.asked == 30 + 24 + 48, "a new measurement asks again"


def test_answers_are_kept_for_the_same_question_only(evaluated: Settings) -> None:
    suite = load_suite("smoke")
    given = ["x", "--url", "http://a/v1", "--input-price", "0", "--output-price", "0"]
    entries = [{"path": "drop.parquet", "sha256": "aa"}]
    files = {
        answers_file(parse(given), suite, "drop", entries, None),
        answers_file(parse(given), suite, "gsm8k", entries, None),
        answers_file(parse(given), suite, "drop", entries, 3),
        answers_file(parse(given), suite, "drop", [{"path": "drop.parquet", "sha256": "bb"}], None),
        answers_file(parse(["y", *given[1:]]), suite, "drop", entries, None),
        answers_file(parse([*given, "--url", "http://b/v1"]), suite, "drop", entries, None),
        answers_file(parse([*given, "--context", "99"]), suite, "drop", entries, None),
    }
    assert len(files) == 7
    again = parse([*given, "--concurrent", "4", "--yes"])
    assert answers_file(again, suite, "drop", entries, None) in files


def test_an_unreachable_server_is_a_cluster_error(evaluated: Settings) -> None:
    arguments = ["x", "--url", "http://127.0.0.1:9/v1/completions", "--suite", "smoke", "--yes"]
    with pytest.raises(ClusterError, match=r"127\.0\.0\.1:9"):
        evaluate_server(parse([*arguments, "--input-price", "0", "--output-price", "0"]))


def test_cost() -> None:
    assert Estimate("t", 1, 2_000_000, 500_000).dollars(2.5, 10) == 10.0
