"""The model card: `README.md` with hub front matter, rendered from what the run recorded.

In: the settings, the index of the shards, what Instruct recorded. Out: text without a time or a place, so that the
same run gives the same card.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gptoss.config.settings import Settings
from gptoss.core import paths
from gptoss.core.atomic_files import read_json, write_text
from gptoss.models.architecture import architecture
from gptoss.publish.weights import Conversion
from gptoss.tables.token_files import read_index

TEMPLATE = Path(__file__).with_name("README.md.jinja")
SHOWN_URLS = 3


def write_card(folder: Path, settings: Settings, head: str, converted: Conversion) -> None:
    """Render the template to `folder/README.md`."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True, autoescape=False
    )
    environment.filters |= {"number": number, "size": size}
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    write_text(folder / "README.md", template.render(facts(settings, head, converted)))


def facts(settings: Settings, head: str, converted: Conversion) -> dict[str, Any]:
    """Everything the card says that differs from model to model."""
    index = read_index(paths.SHARDS)
    train = index["splits"]["train"]
    seen = settings.pretrain.steps * settings.pretrain.batch_tokens
    return {
        "head": head,
        "name": settings.name,
        "repository": paths.published(settings.name, head).as_posix(),
        "base": paths.published(settings.name, "base").as_posix(),
        "languages": sorted({source.language for source in settings.sources.values()}),
        "parameters": converted.parameters,
        "bytes": converted.bytes,
        "files": len(converted.files),
        "model": settings.model,
        "architecture": architecture(settings.model.architecture),
        "vocabulary": settings.tokenizer.vocab_size,
        "padded_vocabulary": index["vocab_size"],
        "algorithm": {"bpe": "byte-level BPE", "sentencepiece": "SentencePiece BPE with byte fallback"}[
            settings.tokenizer.algorithm
        ],
        "bytes_per_token": train["bytes"] / max(1, train["tokens"]),
        "pretrain": settings.pretrain,
        "tokens_seen": seen,
        "passes": seen / max(1, train["tokens"]),
        "train": train,
        "held_out_tokens": index["splits"]["validation"]["tokens"],
        "sources": sources(settings, train["sources"]),
        "instruct": read_json(paths.INSTRUCT / "conversations.json") if head == "instruct" else None,
        "max_kl": settings.publish.max_kl,
    }


def sources(settings: Settings, counts: dict[str, dict[str, int]]) -> list[dict[str, Any]]:
    """The data sources that reached the training split, each with its licence and where it came from."""
    return [
        {
            "name": name,
            "license": source.license,
            "language": source.language,
            "urls": [url.partition("#")[0] for url in source.urls[:SHOWN_URLS]],
            "more_urls": max(0, len(source.urls) - SHOWN_URLS),
            **{key: counts.get(name, {}).get(key, 0) for key in ("documents", "tokens", "bytes")},
        }
        for name, source in sorted(settings.sources.items())
    ]


def number(value: float) -> str:
    """1311872 as 1.31M."""
    for limit, unit in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
        if value >= limit:
            return f"{value / limit:.3g}{unit}"
    return f"{value:g}"


def size(value: float) -> str:
    """Bytes in decimal units, as discs and downloads are sold: 40 GB."""
    for limit, unit in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if value >= limit:
            return f"{value / limit:.3g} {unit}"
    return f"{value:g} bytes"
