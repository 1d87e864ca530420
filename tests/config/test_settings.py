"""The configuration: every profile is valid, and every mistake is reported with key, value and fix."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from gptoss.config.cluster import CLUSTERS, ClusterConfig, load_cluster
from gptoss.config.profiles import compose
from gptoss.config.settings import Settings, load_settings
from gptoss.config.yaml_sections import check, load_yaml
from gptoss.core.errors import UserError
from gptoss.models.decoder import parameter_count
from tests.conftest import ROOT

PROFILES = sorted(path.stem for path in (ROOT / "profiles").glob("*.yaml"))
PARAMETERS = {"tiny": 1.3e6, "125m": 126e6, "1b": 1.34e9, "20b": 20.02e9, "30b": 29.7e9, "70b": 69.3e9}


@pytest.mark.parametrize("profile", PROFILES)
def test_every_profile_is_valid_and_has_the_size_its_name_says(profile: str) -> None:
    settings = check(Settings, compose(profile, ROOT / "profiles"), origin=profile)
    size = parameter_count(settings.model, settings.tokenizer.padded_vocab_size)
    assert size == pytest.approx(PARAMETERS[profile], rel=0.01)


def test_20b_has_the_documented_number_of_parameters() -> None:
    settings = check(Settings, compose("20b", ROOT / "profiles"), origin="20b")
    assert parameter_count(settings.model, settings.tokenizer.padded_vocab_size) == 20_021_581_824
    assert settings.name == "20B"


def test_params_yaml_is_a_valid_configuration() -> None:
    load_settings(ROOT / "params.yaml")


@pytest.mark.parametrize("name", sorted(path.stem for path in (ROOT / CLUSTERS).glob("*.yaml")))
def test_every_cluster_is_valid(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    load_cluster(name)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pretrain.learning_rat": 3}, "pretrain.learning_rat = 3: unknown key; did you mean 'learning_rate'?"),
        ({"sources.wikipedia.licence": "x"}, "sources.wikipedia.licence = 'x': unknown key; did you mean 'license'?"),
        ({"pretrain.steps": "many"}, "pretrain.steps = 'many': input should be a valid integer"),
        ({"model.heads": 3}, "hidden_size(128) / heads(3) = 42.6667"),
        ({"model.kv_heads": 3, "model.heads": 4}, "heads(4) / kv_heads(3)"),
        ({"pretrain.batch_tokens": 1000}, "pretrain.batch_tokens(1000) / model.context(256) = 3.90625 sequences"),
        ({"pretrain.warmup_steps": 99999}, "must be below pretrain.steps"),
        (
            {"pretrain.mixture": {"wikipedai": 1}},
            "pretrain.mixture names wikipedai: the sources are wikipedia, gutenberg",
        ),
        ({"pretrain.mixture": {"wikipedia": 0}}, "no source has a weight above 0"),
        ({"pretrain.phases": [{"from_fraction": 0.9, "mixture": {"x": 1}}]}, "pretrain.phases.0.mixture names x"),
        (
            {"pretrain.phases": [{"from_fraction": f, "mixture": {"gutenberg": 1}} for f in (0.5, 0.5)]},
            "phases begin at [0.5, 0.5]: each from_fraction must be above the one before it",
        ),
        (
            {"pretrain.schedule": "wsd", "pretrain.decay_fraction": 0.95},
            "warmup_steps(40) + decay_fraction(0.95) * steps(480) = 496 > 480",
        ),
        ({"tokenizer.vocab_size": 100}, "cannot hold 256 bytes"),
        ({"benchmarks.gpt4": "none"}, "evaluate.suites contains gpt4 but benchmarks.gpt4 is none"),
        ({"curate.quality.min_words": -1}, "curate.quality.min_words = -1"),
        ({"name": "../escape"}, "name = '../escape'"),
        ({"sources": {}}, "sources is empty"),
    ],
)
def test_a_mistake_is_reported_with_its_key(
    settings_with: Callable[..., Settings], change: dict[str, object], message: str
) -> None:
    with pytest.raises(UserError) as caught:
        settings_with(**change)
    assert message in str(caught.value)
    assert "fix: " in str(caught.value)


def test_all_mistakes_are_reported_at_once(settings_with: Callable[..., Settings]) -> None:
    with pytest.raises(UserError) as caught:
        settings_with(**{"pretrain.stepz": 1, "dedup.bandz": 2})
    assert "stepz" in str(caught.value)
    assert "bandz" in str(caught.value)


def test_a_mesh_that_does_not_fill_the_world_prints_the_arithmetic() -> None:
    values = load_yaml(ROOT / CLUSTERS / "local.yaml")
    values["mesh"] = {"pp": 4, "dp_replicate": 1, "dp_shard": 3}
    values["processes_per_node"] = 16
    with pytest.raises(
        UserError, match=r"pp\(4\) \* dp_replicate\(1\) \* dp_shard\(3\) \* tp\(1\) = 12 .*= 16: set mesh.dp_shard to 4"
    ):
        check(ClusterConfig, values, origin="test")


def test_broken_yaml_and_missing_files_are_user_errors(tmp_path: Path) -> None:
    (tmp_path / "broken.yaml").write_text("a: [1, 2\nb: 3")
    (tmp_path / "list.yaml").write_text("- 1")
    for name, message in {
        "broken.yaml": "not valid YAML",
        "list.yaml": "holds a list",
        "no.yaml": "does not exist",
    }.items():
        with pytest.raises(UserError, match=message):
            load_yaml(tmp_path / name)
