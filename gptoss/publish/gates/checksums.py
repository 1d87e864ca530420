"""Every file on disk has the bytes of its checksum."""

from __future__ import annotations

from gptoss.core import checksums
from gptoss.publish.gates.gate import MAX_NAMES, Gate, GateInputs


class Checksums(Gate):
    """Number of files that differ from `checksums.sha256`, are missing, or are not listed."""

    name = "checksums"
    # Weights are hashed while they are written, so reading them back detects what a disk or another process changed.
    reason = "the folder is signed and downloaded by these hashes"
    reference = "FIPS 180-4 (SHA-256), in the format of `sha256sum -c`"

    def measure(self, inputs: GateInputs) -> tuple[float, str]:
        wrong = checksums.differing(inputs.folder)
        return len(wrong), "; ".join(wrong[:MAX_NAMES]) or "every file was read again"
