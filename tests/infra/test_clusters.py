"""Every cluster file is valid, with the profiles that the documentation trains on it."""

from __future__ import annotations

import pytest
import yaml

from gptoss.config.cluster import ClusterConfig, load_cluster
from gptoss.config.profiles import compose
from gptoss.config.settings import Settings
from gptoss.config.yaml_sections import check
from gptoss.core.errors import UserError
from gptoss.train.run_config import divide_batch
from tests.conftest import ROOT

CLUSTERS = sorted(path.stem for path in (ROOT / "infra" / "clusters").glob("*.yaml"))
TRAINED_ON = {
    "local": ["tiny"],
    "local-pipeline": ["tiny"],
    "single": ["tiny"],
    "ray": ["tiny"],
    "gpu": ["125m"],
    "a100-80gb-8": ["125m", "1b"],
    "a100-80gb-64": ["1b", "20b"],
    "a100-80gb-64-torchrun": ["1b", "20b"],
    "a100-80gb-128": ["20b", "30b"],
    "a100-80gb-512": ["70b"],
}


@pytest.mark.parametrize("name", CLUSTERS)
def test_a_cluster_file_is_valid_and_divides_its_profiles(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    cluster = load_cluster(name)
    for profile in TRAINED_ON[name]:
        settings = check(Settings, compose(profile, ROOT / "profiles"), origin=profile)
        assert divide_batch(settings, cluster).micro_batches >= cluster.mesh.pp


def test_the_two_ways_to_start_64_gpus_are_one_mesh() -> None:
    ways = [
        yaml.safe_load((ROOT / "infra" / "clusters" / f"{name}.yaml").read_text())
        for name in ("a100-80gb-64", "a100-80gb-64-torchrun")
    ]
    for way in ways:
        way.pop("launcher")
        way.pop("slurm", None)
        way.pop("restarts", None)  # on Kubernetes they are in the JobSet
    assert ways[0] == ways[1]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"launcher": "external"}, "there is a slurm section, but launcher is external: set launcher: slurm"),
        ({"slurm": {"time": 43200}}, r"slurm.time = 43200: input should be a valid string"),
        ({"slurm": {"time": "a day"}}, r"slurm.time = 'a day'"),
        ({"slurm": {"partiton": "a100"}}, "did you mean 'partition'"),
    ],
)
def test_mistakes_in_a_slurm_section_are_reported(changes: dict[str, object], message: str) -> None:
    values = yaml.safe_load((ROOT / "infra" / "clusters" / "a100-80gb-64.yaml").read_text())
    with pytest.raises(UserError, match=message):
        check(ClusterConfig, values | changes, origin="a100-80gb-64.yaml")
