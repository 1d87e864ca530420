"""The tokenizer is the one that the training data was encoded with."""

from __future__ import annotations

from gptoss.core import paths
from gptoss.core.atomic_files import sha256_file
from gptoss.publish.gates.gate import Gate, GateInputs
from gptoss.tables.token_files import read_index


class TokenizerAsTrained(Gate):
    """1 when `tokenizer.json` has another hash than the index of the token files, else 0."""

    name = "tokenizer_as_trained"
    reason = "the model learned the ids of one tokenizer; another one passes every other gate and yields nonsense"
    reference = "`tokenizer_sha256` in data/shards/index.json"

    def measure(self, inputs: GateInputs) -> tuple[float, str]:
        # The hash of the file, not of the vocabulary: normalisers and merges change ids as well.
        found = sha256_file(inputs.folder / "tokenizer.json")
        expected = read_index(paths.SHARDS)["tokenizer_sha256"]
        if found == expected:
            return 0, "tokenizer.json is the one the shards were encoded with"
        return 1, f"tokenizer.json has sha256 {found[:12]}…, the shards were encoded with {expected[:12]}…"
