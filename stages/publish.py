"""Convert trained weights to a float16 folder that stock `AutoModelForCausalLM.from_pretrained` loads.

In: `models/base`, or `models/instruct` (merged model and adapter); the tokenizer; token files, for the gates. Out:
`gpt-oss/NAME` or `gpt-oss/NAME-instruct`: weights, tokenizer, model card, licence, `gates.json`, `checksums.sha256`.
Errors: a missing or damaged input, a tensor above `publish.max_shard_bytes`, a failed gate (`gptoss/publish/gates`).
On failure nothing is published. By hand, the previous folder stays; under `dvc repro`, restore it with `dvc checkout`.
"""

from __future__ import annotations

import shutil

from gptoss.config.settings import Settings
from gptoss.core import checksums, paths
from gptoss.core.atomic_files import atomic_folder, write_json
from gptoss.publish import configuration_files, gguf_file, model_card, model_outputs, weights
from gptoss.publish.gates import require_passed, run_gates
from gptoss.publish.gates.gate import GateInputs, load_tokenizer, three_digits
from gptoss.tokenizer import folder as tokenizer_folder
from gptoss.tracking.mlflow_run import StageRun
from gptoss.tracking.runner import Metrics, run_stage


def publish(settings: Settings, run: StageRun, variant: str) -> Metrics:
    """Cast, describe, check, and only then give the folder its final name."""
    source = paths.PRETRAINED if variant == "base" else paths.INSTRUCT / "merged"
    target = paths.published(settings.name, variant)
    gguf_file.require_supported(settings)
    model_outputs.make_reproducible()
    with atomic_folder(target) as folder:
        conversion = weights.convert(source, folder, settings.publish.max_shard_bytes)
        if variant == "instruct":
            weights.convert_adapter(paths.INSTRUCT / "adapter", folder, conversion)
        tokenizer_folder.copy(paths.TOKENIZER if variant == "base" else source, folder)
        tokenizer = load_tokenizer(paths.TOKENIZER)
        configuration_files.write_model_config(source, folder, tokenizer)
        configuration_files.write_generation_config(folder, tokenizer, variant)
        if settings.publish.gguf:
            gguf_file.write_gguf(folder, target.name)
        model_card.write_card(folder, settings, variant, conversion)
        shutil.copyfile("LICENSE", folder / "LICENSE")
        checksums.add_missing(folder, conversion.sha256)  # before the gates, which read every file again
        windows = model_outputs.held_out_windows(settings, conversion.parameters)
        results = run_gates(GateInputs(folder, source, conversion, settings, windows))
        require_passed(results, str(target))
        write_json(folder / "gates.json", {"gates": [result.as_json() for result in results]})
        checksums.add_missing(folder)  # gates.json
    for name in ("README.md", "gates.json"):
        run.log_artifact(target / name)
    return {
        "parameters": conversion.parameters,
        "bytes": conversion.bytes,
        "files": len(conversion.files),
        "largest_weight": three_digits(conversion.largest_weight),
        "gates": {result.gate.name: result.value for result in results},
    }


if __name__ == "__main__":
    run_stage(publish, "publish", keys=lambda settings: paths.VARIANTS)
