"""Runs a reader over the bytes of a raw file."""

from __future__ import annotations

import io

from gptoss.config.source import SourceConfig
from gptoss.formats.records import Document, Reader, Record
from gptoss.sources.compression import HashingStream, decompressed
from gptoss.sources.streams import DamagedError


def read(reader: Reader, raw: bytes, source: SourceConfig) -> tuple[list[Record], str]:
    """All records, and the damage that ended them."""
    records: list[Record] = []
    try:
        for record in reader(decompressed(HashingStream(io.BytesIO(raw))), "raw.file", source):
            records.append(record)
    except DamagedError as error:
        return records, str(error)
    return records, ""


def texts(records: list[Record]) -> list[str]:
    return [record.text for record in records if isinstance(record, Document)]
