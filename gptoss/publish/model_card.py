"""The model card: `README.md` with the front matter of the Hugging Face hub, rendered from what the run recorded.

In: the settings, the index of the token files, the counts of the stage `instruct`. Out: text without dates, paths or
host names, so that the same run gives the same bytes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gptoss.config.extensions import TOKENIZERS, load
from gptoss.config.settings import Settings
from gptoss.core import paths
from gptoss.core.atomic_files import read_json, write_text
from gptoss.models.architecture import architecture
from gptoss.publish.weights import Conversion
from gptoss.tables.token_files import read_index

TEMPLATE = Path(__file__).with_name("README.md.jinja")
# A source can consist of thousands of files; the card shows the first ones and the number of the others.
MAX_URLS = 3


def write_card(folder: Path, settings: Settings, variant: str, conversion: Conversion) -> None:
    """Render the template to `folder/README.md`."""
    from jinja2 import Environment, StrictUndefined

    # StrictUndefined: a name that is missing fails the stage instead of leaving a gap in the card.
    environment = Environment(
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True, autoescape=False
    )
    environment.filters |= {"number": short_number, "size": short_bytes}
    # No autoescape: the output is Markdown, and every value comes from the settings or from counts.
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    write_text(folder / "README.md", template.render(template_variables(settings, variant, conversion)))


def template_variables(settings: Settings, variant: str, conversion: Conversion) -> dict[str, Any]:
    """Return the variables of the template."""
    index = read_index(paths.SHARDS)
    train = index["splits"]["train"]
    # Computed from the settings, not from the MLflow run, which may not be on this machine.
    seen = settings.pretrain.steps * settings.pretrain.batch_tokens
    return {
        "variant": variant,
        "name": settings.name,
        "repository": paths.published(settings.name, variant).as_posix(),
        "base": paths.published(settings.name, "base").as_posix(),
        "languages": sorted({source.language for source in settings.sources.values()}),
        "parameters": conversion.parameters,
        "bytes": conversion.bytes,
        "files": len(conversion.files),
        "model": settings.model,
        "architecture": architecture(settings.model.architecture),
        "vocabulary": settings.tokenizer.vocab_size,
        "padded_vocabulary": index["vocab_size"],
        "algorithm": load(TOKENIZERS, settings.tokenizer.algorithm).DESCRIPTION,
        "bytes_per_token": train["bytes"] / max(1, train["tokens"]),
        "pretrain": settings.pretrain,
        "tokens_seen": seen,
        "passes": seen / max(1, train["tokens"]),
        "train": train,
        "held_out_tokens": index["splits"]["validation"]["tokens"],
        "sources": sources(settings, train["sources"]),
        "instruct": read_json(paths.INSTRUCT / "conversations.json") if variant == "instruct" else None,
        "max_kl": settings.publish.max_kl,
    }


def sources(settings: Settings, counts: dict[str, dict[str, int]]) -> list[dict[str, Any]]:
    """Return licence, origin and size in the training split of each data source."""
    return [
        {
            "name": name,
            "license": source.license,
            "language": source.language,
            # Without the fragment `#sha256=HEX`: readers of the card cannot use the checksum of a raw file.
            "urls": [url.partition("#")[0] for url in source.urls[:MAX_URLS]],
            "more_urls": max(0, len(source.urls) - MAX_URLS),
            **{key: counts.get(name, {}).get(key, 0) for key in ("documents", "tokens", "bytes")},
        }
        for name, source in sorted(settings.sources.items())
    ]


def short_number(value: float) -> str:
    """Format 1311872 as 1.31M."""
    return _with_suffix(value, ("T", "B", "M", "k"), "")


def short_bytes(value: float) -> str:
    """Format a number of bytes in decimal units, as drives and downloads are labelled: 40 GB."""
    return _with_suffix(value, (" TB", " GB", " MB", " kB"), " bytes")


def _with_suffix(value: float, suffixes: tuple[str, str, str, str], otherwise: str) -> str:
    for limit, suffix in zip((1e12, 1e9, 1e6, 1e3), suffixes, strict=True):
        if value >= limit:
            return f"{value / limit:.3g}{suffix}"
    return f"{value:g}{otherwise}"
