"""datatrove: its quality filters as shipped, and each of their rules alone.

`decide DOCUMENTS TARGET` writes the decision of each filter on each document (JSON lines): `1` kept, `0` removed, `-`
failed, and digests of the texts after C4's filter. `time DOCUMENTS FILTER` prints the seconds for all documents,
without loading the documents and the tokenizer. `chain` is the four filters in FineWeb's order, each applied to what
the previous one kept.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import sys
import time
import warnings
from functools import partial
from typing import Any

from datatrove.data import Document
from datatrove.pipeline.filters import (
    C4QualityFilter,
    FineWebQualityFilter,
    GopherQualityFilter,
    GopherRepetitionFilter,
)
from datatrove.utils.text import split_into_parts, split_into_words

# Arguments that switch all rules of a filter off: a rule is measured alone by switching it on again.
NO_GOPHER = dict.fromkeys(
    ("min_doc_words", "max_doc_words", "min_avg_word_length", "max_avg_word_length", "max_symbol_word_ratio",
     "max_bullet_lines_ratio", "max_ellipsis_lines_ratio", "max_non_alpha_words_ratio", "min_stop_words")
)  # fmt: skip
NO_REPETITION: dict[str, Any] = {
    **dict.fromkeys(("dup_line_frac", "dup_para_frac", "dup_line_char_frac", "dup_para_char_frac")),
    "top_n_grams": (),
    "dup_n_grams": (),
}
NO_C4: dict[str, Any] = {
    **dict.fromkeys(
        ("remove_citations", "filter_no_terminal_punct", "filter_lorem_ipsum", "filter_javascript",
         "filter_curly_bracket", "filter_policy"), False,
    ),
    **dict.fromkeys(("min_num_sentences", "min_words_per_line", "max_word_length"), -1),
}  # fmt: skip
NO_FINEWEB = {"line_punct_thr": 0, "short_line_thr": 1, "char_duplicates_ratio": 1, "new_line_ratio": 1e9}
gopher = partial(GopherQualityFilter, **NO_GOPHER)
repetition = partial(GopherRepetitionFilter, **NO_REPETITION)
c4 = partial(C4QualityFilter, **NO_C4)
fineweb = partial(FineWebQualityFilter, **NO_FINEWEB)
# In the order of FineWeb's pipeline.
FAMILIES = {
    "repetition": GopherRepetitionFilter,
    "gopher": GopherQualityFilter,
    "c4": C4QualityFilter,
    "fineweb": FineWebQualityFilter,
}
# Published bounds by n of the most frequent n-gram, and of all duplicated n-grams (Rae et al. 2021, appendix A1).
TOP = ((2, 0.2), (3, 0.18), (4, 0.16))
DUPLICATE = ((5, 0.15), (6, 0.14), (7, 0.13), (8, 0.12), (9, 0.11), (10, 0.10))
# Each rule of the filters alone (all others off), by measure and the side of the bound that it removes.
RULES = {
    **FAMILIES,
    "c4 without terminal_punctuation": partial(C4QualityFilter, filter_no_terminal_punct=False),
    "words <": partial(gopher, min_doc_words=50),
    "words >": partial(gopher, max_doc_words=300),  # a bound at which documents this size differ
    "mean_word_length <": partial(gopher, min_avg_word_length=3),
    "mean_word_length >": partial(gopher, max_avg_word_length=10),
    "symbol_to_word_ratio >": partial(gopher, max_symbol_word_ratio=0.1),
    "bullet_line_fraction >": partial(gopher, max_bullet_lines_ratio=0.9),
    "ellipsis_line_fraction >": partial(gopher, max_ellipsis_lines_ratio=0.3),
    "alphabetic_word_fraction <": partial(gopher, max_non_alpha_words_ratio=0.8),
    "stop_words <": partial(gopher, min_stop_words=2),
    "duplicate_line_fraction >": partial(repetition, dup_line_frac=0.3),
    "duplicate_paragraph_fraction >": partial(repetition, dup_para_frac=0.3),
    "duplicate_line_characters >": partial(repetition, dup_line_char_frac=0.2),
    "duplicate_paragraph_characters >": partial(repetition, dup_para_char_frac=0.2),
    **{f"top_{n}gram >": partial(repetition, top_n_grams=((n, bound),)) for n, bound in TOP},
    **{f"duplicate_{n}gram >": partial(repetition, dup_n_grams=((n, bound),)) for n, bound in DUPLICATE},
    "lorem_ipsum >": partial(c4, filter_lorem_ipsum=True),
    "curly_brackets >": partial(c4, filter_curly_bracket=True),
    "sentences <": partial(c4, min_num_sentences=5),
    "terminal_punctuation_line_fraction <": partial(fineweb, line_punct_thr=0.12),
    "short_line_fraction >": partial(fineweb, short_line_thr=0.67),
    "repeated_line_characters >": partial(fineweb, char_duplicates_ratio=0.01),
    "newline_to_word_ratio >": partial(fineweb, new_line_ratio=0.3),
}
# Filters that change texts, which are compared.
TEXTS = ("c4", "c4 without terminal_punctuation")


def decide(documents: str, target: str) -> None:
    """Write a line with versions and rules, then a line of decisions and digests per document."""
    filters = {name: make() for name, make in RULES.items()}
    versions = {name: importlib.metadata.version(name) for name in ("datatrove", "spacy")}
    with open(documents) as lines, open(target, "w") as out:
        out.write(json.dumps({"versions": versions, "rules": list(RULES), "texts": TEXTS}) + "\n")
        for line in lines:
            text = json.loads(line)
            decisions, texts = "", []
            for name, rule in filters.items():
                document = Document(text=text, id="")  # new for each rule, because C4's filter changes the text
                try:
                    kept = rule.filter(document) is True
                    decisions += "01"[kept]
                except ZeroDivisionError:  # some rules divide by a count that is zero here
                    kept = False
                    decisions += "-"
                if name in TEXTS:
                    texts.append(hashlib.sha256(document.text.encode()).hexdigest()[:8] if kept else "0" * 8)
            out.write(json.dumps([decisions, *texts]) + "\n")


def measure(documents: str, name: str) -> None:
    """Print the seconds of one filter, or of the chain, and the number of documents kept."""
    with open(documents) as lines:
        kept = [Document(text=json.loads(line), id="") for line in lines]
    filters = [make() for make in FAMILIES.values()] if name == "chain" else [FAMILIES[name]()]
    split_into_words("Loads the tokenizer.")
    # Its cache of split texts stays on, as shipped, but starts empty.
    split_into_parts.cache_clear()
    start, cpu = time.perf_counter(), time.process_time()
    for rule in filters:
        kept_after = []
        for document in kept:
            if rule.filter(document) is True:
                kept_after.append(document)
        kept = kept_after
    seconds = {"seconds": time.perf_counter() - start, "cpu_seconds": time.process_time() - cpu}
    print(json.dumps({**seconds, "kept": len(kept)}))


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    {"decide": decide, "time": measure}[sys.argv[1]](*sys.argv[2:])
