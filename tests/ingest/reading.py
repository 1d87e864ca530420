"""Runs a reader over the bytes of a raw file."""

from __future__ import annotations

import io

from stages.ingest.compression import HashingStream, decompressed
from stages.ingest.records import DamagedError, Document, Reader, Record
from stages.settings import Source


def read(reader: Reader, raw: bytes, source: Source) -> tuple[list[Record], str]:
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
