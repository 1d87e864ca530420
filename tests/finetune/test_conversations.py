"""Reading chat files: outcomes of lines, ids, globs, and error messages."""

from __future__ import annotations

from pathlib import Path

import pytest

from gptoss.core.errors import DataError, UserError
from gptoss.finetune.chat_formats import FORMATS
from gptoss.finetune.conversations import RECORDED_IN, SHIPPED, Corpus, read_corpus
from tests.finetune.chats import CONTROL, messages
from tests.publish.toy import write_lines


def read(path: Path) -> Corpus:
    return read_corpus([str(path)], [], CONTROL)


def test_every_shipped_conversation_is_used() -> None:
    corpus = read_corpus([], [], CONTROL)
    outcomes = [corpus.files[str(RECORDED_IN / name)] for name in SHIPPED]
    assert [outcome["used"] for outcome in outcomes] == [413, 82]
    assert not any(outcome["rejected"] or outcome["duplicate"] for outcome in outcomes)
    assert len({conversation.id for conversation in corpus.conversations}) == 413 + 82


def test_bad_lines_and_duplicates_are_kept_with_their_place(workspace: Path) -> None:
    good = [messages(f"user:Question {number}", "assistant:Answer.") for number in range(9)]
    rows = [b"\xef\xbb\xbf" + b'{"instruction":"First","output":"One"}', *good, b"", b"{broken", good[0]]
    corpus = read(write_lines(Path("chats/one.jsonl"), rows))
    assert corpus.files["chats/one.jsonl"] == {"used": 10, "duplicate": 1, "rejected": 1}
    assert [(item.file, item.line, item.reason) for item in corpus.rejected] == [
        ("chats/one.jsonl", 12, "not JSON"),
        ("chats/one.jsonl", 13, "duplicate"),
    ]


def test_ids_are_kept_and_made_unique(workspace: Path) -> None:
    rows = [messages("user:a", "assistant:b") | {"id": 7}, messages("user:c", "assistant:d") | {"id": "7"}]
    first, second = [item.id for item in read(write_lines(Path("x.jsonl"), rows)).conversations[-2:]]
    assert first == "7"
    assert second.startswith("7-")


def test_an_overlong_line_is_skipped_whole(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gptoss.finetune.chat_files.MAX_LINE_BYTES", 2000)
    rows = [messages("user:" + "x" * 9000, "assistant:y"), *(messages(f"user:{n}", "assistant:y") for n in range(5))]
    corpus = read(write_lines(Path("x.jsonl"), rows))
    assert corpus.files["x.jsonl"] == {"used": 5, "duplicate": 0, "rejected": 1}
    assert corpus.rejected[0].reason == "line too long"


def test_errors_name_the_pattern_the_lines_and_the_formats(workspace: Path) -> None:
    with pytest.raises(UserError, match=r"instruct\.data: 'chats/\*\.jsonl' matches no file"):
        read_corpus(["chats/*.jsonl"], [], CONTROL)
    bad = write_lines(Path("bad.jsonl"), [{"text": "x"}, messages("user:a", "assistant:b")])
    with pytest.raises(
        DataError, match=r"1 of 2 lines cannot be used = 50%, above 20%\n    line 1: unknown format"
    ) as e:
        read(bad)
    assert FORMATS in e.value.fix
    with pytest.raises(DataError, match="holds no line"):
        read(write_lines(Path("empty.jsonl"), []))


def test_globs_are_sorted_and_each_file_is_read_once(workspace: Path) -> None:
    for name in ("b", "a"):
        write_lines(Path(f"chats/{name}.jsonl"), [messages(f"user:{name}", "assistant:y")])
    corpus = read_corpus(["chats/*.jsonl", "chats/a.jsonl"], [], CONTROL)
    assert list(corpus.files)[2:] == ["chats/a.jsonl", "chats/b.jsonl"]


def test_real_files(shared: Path) -> None:
    corpus = read_corpus([str(shared / "instruct" / "dolly_151.jsonl")], [], CONTROL)
    assert list(corpus.files.values())[2]["used"] == 151
    trees = read_corpus([str(shared / "instruct" / "oasst1_en_100_tree.jsonl")], [], CONTROL)
    assert list(trees.files.values())[2]["used"] >= 95
