"""`config.json` describes the model that was trained."""

from __future__ import annotations

from gptoss.core import paths
from gptoss.publish.gates.gate import Gate, GateInputs
from gptoss.tables.token_files import read_index

# Entries that publishing sets, or that do not change what the model computes.
IGNORED_KEYS = {"bos_token_id", "eos_token_id", "pad_token_id", "dtype", "initializer_range", "use_cache"}


class ConfigAsTrained(Gate):
    """Number of entries that differ from the trained configuration."""

    name = "config_as_trained"
    reason = "a wrong entry, such as the rotary base, loads without an error and computes something else"
    reference = "the settings of the run (`model` in params.yaml)"

    def measure(self, inputs: GateInputs) -> tuple[float, str]:
        from transformers import AutoConfig

        from gptoss.models.decoder import hugging_face_config

        trained = hugging_face_config(inputs.settings.model, read_index(paths.SHARDS)["vocab_size"])
        # Both sides go through transformers, which adds defaults and renames keys from version to version.
        expected = AutoConfig.for_model(**trained).to_dict()
        found = AutoConfig.from_pretrained(inputs.folder, local_files_only=True, trust_remote_code=False).to_dict()
        wrong = [
            f"{key} is {found.get(key)}, trained was {expected[key]}"
            for key in sorted(set(trained) - IGNORED_KEYS)
            if found.get(key) != expected[key]
        ]
        return len(wrong), "config.json: " + ("; ".join(wrong) or "the shape that was trained")
