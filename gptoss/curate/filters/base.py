"""What a filter of `curate` is. To write one, copy `length.py` and add the class to `FILTERS`."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from gptoss.config.curate import CurateConfig
from gptoss.config.section import Section
from gptoss.config.source import SourceConfig
from gptoss.config.yaml_sections import check
from gptoss.core.atomic_files import atomic_file
from gptoss.curate.document_batch import DocumentBatch


@dataclass(frozen=True)
class FilterContext:
    """What filters are prepared from: one source, before its files are curated."""

    files: Sequence[Path]
    """The document tables of the source."""
    curate: CurateConfig
    source: SourceConfig
    folder: Path
    """The working folder of the stage run, for files that the tasks read."""

    def save(self, name: str, content: bytes) -> str:
        """Write a file for the tasks and return its path."""
        # The hash is part of the name, so it is part of the arguments of the tasks: other content runs them again.
        file = self.folder / f"{name}-{hashlib.sha256(content).hexdigest()[:16]}"
        with atomic_file(file) as partial:
            partial.write_bytes(content)
        return str(file)


class Filter(ABC):
    """One step of curation, applied to all documents of a batch at once.

    `prepare` runs once per source in the stage, the constructor once per task, `apply` once per batch. The two methods
    below serve a filter with settings of its own in `curate.filters.NAME`; filters with another key override them.
    """

    name: ClassVar[str]
    """Unique. Also the reason in the removed table, unless a filter has several."""
    Config: ClassVar[type[Section]] = Section
    """The keys of `curate.filters.NAME`."""
    config: Any

    @classmethod
    def prepare(cls, context: FilterContext) -> dict[str, Any] | None:
        """The arguments of the constructor, as JSON can hold them; None switches the filter off for this source."""
        # Raw values, which are JSON; the constructor makes the checked `Config` of them in each task.
        values = context.curate.filters.get(cls.name)
        return None if values is None else {"config": values}

    def __init__(self, config: dict[str, Any]) -> None:
        self.config = check(self.Config, config, origin=f"curate.filters.{self.name}")

    @abstractmethod
    def apply(self, batch: DocumentBatch) -> None:
        """Call `batch.remove(flags, reason, detail)`, or edit `batch.texts`.

        Documents that earlier filters removed are in the batch too: histograms describe all documents of a source.
        """
