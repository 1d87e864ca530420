"""Each gate rejects its fault: nothing is published, and the message names the tensor or the file."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gptoss.config.settings import Settings
from gptoss.core import checksums, paths
from gptoss.core.atomic_files import read_json, write_json
from gptoss.core.errors import DataError
from gptoss.publish import gates, weights
from gptoss.publish.gates.gate import Gate, GateInputs
from tests.publish.toy import make_inputs, run_publish, toy_settings, tree

UP = "model.layers.1.mlp.up_proj.weight"


@pytest.fixture
def toy(workspace: Path, settings_with: Callable[..., Settings]) -> Settings:
    make_inputs()
    return toy_settings(settings_with)


def refused(settings: Settings) -> str:
    """Return the message of the failed stage; nothing is published, not even in part."""
    with pytest.raises(DataError) as caught:
        run_publish(settings)
    assert not paths.published("20B", "base").exists()
    assert not any(Path("gpt-oss").iterdir()) if Path("gpt-oss").exists() else True
    return caught.value.problem


def change_weights(change: Callable[[dict[str, Any]], Any]) -> None:
    """Edit `models/base` in place."""
    from safetensors.torch import load_file, save_file

    path = paths.PRETRAINED / "model.safetensors"
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path, metadata={"format": "pt"})


def change_json(path: Path, **values: Any) -> None:
    write_json(path, read_json(path) | values)


def after_the_cast(monkeypatch: pytest.MonkeyPatch, damage: Callable[[Path], Any]) -> None:
    """Damage the new folder after its weights are written, as a bad disk or another process would."""
    convert = weights.convert

    def convert_then_damage(source: Path, folder: Path, *rest: Any) -> weights.Conversion:
        converted = convert(source, folder, *rest)
        damage(folder / "model.safetensors")
        return converted

    monkeypatch.setattr("gptoss.publish.weights.convert", convert_then_damage)


def flip_last_bit(path: Path) -> None:
    raw = bytearray(path.read_bytes())
    raw[-1] ^= 1
    path.write_bytes(raw)


def test_an_overflow_is_refused_and_the_earlier_folder_stays(toy: Settings) -> None:
    run_publish(toy)
    before = tree(paths.published("20B", "base"))
    change_weights(lambda tensors: tensors[UP].view(-1)[5].fill_(70_000.0))
    with pytest.raises(DataError, match=rf"weights_fit_float16: 70000, bound 65504 \(.*{UP} overflows"):
        run_publish(toy)
    assert tree(paths.published("20B", "base")) == before
    assert [path.name for path in Path("gpt-oss").iterdir()] == ["20B"]


@pytest.mark.parametrize("value", [float("nan"), float("-inf")])
def test_one_value_that_is_not_a_number_is_named(toy: Settings, value: float) -> None:
    change_weights(lambda tensors: tensors[UP].view(-1)[7].fill_(value))
    message = refused(toy)
    assert f"weights_fit_float16: inf, bound 65504 (largest absolute weight; {UP} holds NaN or infinity)" in message
    assert "activations_fit_float16: inf" in message and "model.layers.1.mlp" in message
    for gate in ("logits_finite", "kl_float32_float16"):
        assert gate in message


def test_activations_that_overflow_are_named_though_every_weight_fits(toy: Settings) -> None:
    def enlarge(tensors: dict[str, Any]) -> None:
        for name in ("up_proj", "gate_proj"):
            tensors[f"model.layers.0.mlp.{name}.weight"].fill_(500.0)

    change_weights(enlarge)
    message = refused(toy)
    assert "weights_fit_float16" not in message
    assert "model.layers.0.mlp.down_proj is the first whose output is not finite" in message


def test_a_distance_above_the_bound_is_refused_with_both_numbers(
    toy: Settings, settings_with: Callable[..., Settings]
) -> None:
    message = refused(toy_settings(settings_with, **{"publish.max_kl": 1e-12}))
    assert "1 of 12 gates failed\n    kl_float32_float16: " in message and ", bound 1e-12" in message


def test_a_missing_tensor_is_named(toy: Settings) -> None:
    change_weights(lambda tensors: tensors.pop("model.norm.weight"))
    assert "loads_stock: 1, bound 0 (missing_keys ['model.norm.weight'])" in refused(toy)


def test_a_wrong_shape_in_the_configuration_is_named(toy: Settings) -> None:
    change_json(paths.PRETRAINED / "config.json", intermediate_size=96)
    message = refused(toy)
    assert "config_as_trained: 1, bound 0 (config.json: intermediate_size is 96, trained was 64)" in message
    assert "loads_stock: inf" in message


def test_a_configuration_that_loads_and_is_wrong_is_named(toy: Settings) -> None:
    """Both models would compute the same nonsense, so their distance says nothing."""
    change_json(paths.PRETRAINED / "config.json", rope_parameters={"rope_theta": 500.0, "rope_type": "default"})
    assert "1 of 12 gates failed\n    config_as_trained: 1, bound 0 (config.json: rope_parameters is" in refused(toy)


def test_another_architecture_or_no_configuration_is_named(toy: Settings) -> None:
    change_json(paths.PRETRAINED / "config.json", architectures=["GPT2LMHeadModel"])
    assert "models/base/config.json says architectures ['GPT2LMHeadModel']" in refused(toy)
    (paths.PRETRAINED / "config.json").write_text("{")
    assert "models/base/config.json cannot be read" in refused(toy)


def test_missing_and_truncated_weights_are_named(toy: Settings) -> None:
    file = paths.PRETRAINED / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1])
    assert "models/base/model.safetensors is not a whole safetensors file" in refused(toy)
    file.unlink()
    assert "models/base/model.safetensors does not exist" in refused(toy)


@pytest.mark.parametrize(
    ("damage", "found"),
    [
        (flip_last_bit, "checksums: 1, bound 0 (model.safetensors)"),
        (lambda path: path.write_bytes(path.read_bytes()[:-2]), "model.safetensors is not a whole safetensors file"),
        (lambda path: path.unlink(), "checksums: 1, bound 0 (model.safetensors)"),
    ],
)
def test_a_shard_that_changes_after_it_was_written_is_named(
    toy: Settings, monkeypatch: pytest.MonkeyPatch, damage: Callable[[Path], Any], found: str
) -> None:
    after_the_cast(monkeypatch, damage)
    assert found in refused(toy)


def test_a_file_that_changes_after_its_checksum_is_named(toy: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    add_missing = checksums.add_missing

    def add_then_damage(folder: Path, known: Any = None) -> None:
        add_missing(folder, known)
        with open(folder / "LICENSE", "ab") as stream:
            stream.write(b"x")

    monkeypatch.setattr("gptoss.core.checksums.add_missing", add_then_damage)
    assert "checksums: 1, bound 0 (LICENSE)" in refused(toy)


def change_tokenizer(change: Callable[[dict[str, Any]], Any]) -> None:
    """Edit `data/tokenizer/tokenizer.json`."""
    path = paths.TOKENIZER / "tokenizer.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    change(content)
    path.write_text(json.dumps(content), encoding="utf-8")


def test_a_tokenizer_that_does_not_load_is_named(toy: Settings) -> None:
    (paths.TOKENIZER / "tokenizer.json").write_text("{}")
    assert "data/tokenizer/tokenizer.json does not load" in refused(toy)


def test_a_tokenizer_that_loses_text_is_named(toy: Settings) -> None:
    change_tokenizer(lambda content: content.update(normalizer={"type": "Lowercase"}))
    message = refused(toy)
    assert "tokenizer_round_trip" in message and "The quick brown fox" in message
    assert "tokenizer_as_trained: 1, bound 0 (tokenizer.json has sha256" in message


def test_another_tokenizer_is_named_though_it_works(toy: Settings) -> None:
    change_tokenizer(lambda content: None)
    message = refused(toy)
    assert "1 of 12 gates failed\n    tokenizer_as_trained: 1, bound 0 (tokenizer.json has sha256" in message


def test_tokens_without_a_row_in_the_embedding_are_counted(toy: Settings) -> None:
    added = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": False}

    def extend(content: dict[str, Any]) -> None:
        first = len(content["model"]["vocab"])
        content["added_tokens"] += [added | {"id": n, "content": f"<new{n}>"} for n in range(first, 390)]

    change_tokenizer(extend)
    found = re.search(r"vocabulary_fits: (\d+), bound 384", refused(toy))
    assert found and int(found[1]) > 384


def test_a_tokenizer_without_a_template_is_refused(toy: Settings) -> None:
    (paths.TOKENIZER / "chat_template.jinja").unlink()
    assert "chat_template: 1, bound 0 (there is no chat_template.jinja)" in refused(toy)


def test_every_gate_is_described_and_has_a_name_of_its_own() -> None:
    assert len({gate.name for gate in gates.GATES}) == len(gates.GATES)
    for gate in gates.GATES:
        assert gate.reason and gate.reference and gate.__doc__


def test_a_new_gate_is_one_class_and_one_line(toy: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    class SmallEnough(Gate):
        name = "small_enough"
        reason = "it must fit on the device"
        reference = "a data sheet"

        def bound(self, inputs: GateInputs) -> float:
            return 1000

        def measure(self, inputs: GateInputs) -> tuple[float, str]:
            return inputs.conversion.bytes, "bytes of weights"

    monkeypatch.setattr(gates, "GATES", (*gates.GATES, SmallEnough))
    message = refused(toy)
    assert re.search(r"1 of 13 gates failed\n    small_enough: \d+, bound 1000 \(bytes of weights\)", message)
    assert "it must fit on the device" in message
