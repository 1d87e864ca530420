"""The Kubernetes manifests match the published schemas of their fields and the cluster file that they use."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from kubeflow_trainer_api import models

from gptoss.config.cluster import load_cluster
from gptoss.core.errors import DataError, UserError
from tests.conftest import ROOT

FOLDER = ROOT / "infra" / "kubernetes"
MODELS = {
    "JobSet": models.JobsetV1alpha2JobSet,
    "PersistentVolumeClaim": models.IoK8sApiCoreV1PersistentVolumeClaim,
    "Pod": models.IoK8sApiCoreV1Pod,
}
STOPPED_ON_REQUEST = 75


def documents(name: str) -> Iterator[dict[str, Any]]:
    yield from yaml.safe_load_all((FOLDER / name).read_text())


@pytest.fixture
def job() -> dict[str, Any]:
    """Specification of the only Job of the JobSet."""
    (job_set,) = documents("pretrain.yaml")
    (replicated,) = job_set["spec"]["replicatedJobs"]
    assert replicated["replicas"] == 1
    spec: dict[str, Any] = replicated["template"]["spec"]
    return spec


@pytest.mark.parametrize("name", sorted(path.name for path in FOLDER.glob("*.yaml")))
def test_every_field_is_in_the_published_models(name: str) -> None:
    """The models drop unknown keys, so a document must be equal after a round trip."""
    for document in documents(name):
        known = MODELS[document["kind"]].from_dict(document)
        assert known is not None and known.to_dict() == document


def test_the_pods_are_the_nodes_of_the_cluster_file(job: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    pod = job["template"]["spec"]
    (container,) = pod["containers"]
    environment = {entry["name"]: entry.get("value") for entry in container["env"]}
    cluster = load_cluster(environment["GPTOSS_CLUSTER"])
    assert cluster.launcher == "torchrun"
    assert job["parallelism"] == job["completions"] == cluster.nodes
    assert container["resources"]["limits"]["nvidia.com/gpu"] == str(cluster.processes_per_node)
    assert int(container["resources"]["requests"]["cpu"]) == cluster.processes_per_node * cluster.threads_per_process
    assert container["command"][1:] == ["-m", "gptoss.launch.node"]
    assert environment["PET_MASTER_ADDR"] == "gpt-oss-pretrain-node-0-0.gpt-oss-pretrain"  # JobSet's name of pod 0
    claims = {volume["name"]: volume.get("persistentVolumeClaim") for volume in pod["volumes"]}
    (claim,) = documents("storage.yaml")
    assert claims["checkout"] == {"claimName": claim["metadata"]["name"]}
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]
    assert {mount["name"] for mount in container["volumeMounts"]} == set(claims)
    assert pod["terminationGracePeriodSeconds"] > cluster.grace_seconds


def test_the_shell_has_the_checkout_and_the_python_of_the_ranks(job: dict[str, Any]) -> None:
    (shell,) = documents("shell.yaml")
    (ours,), (ranks,) = shell["spec"]["containers"], job["template"]["spec"]["containers"]
    assert ours["image"] == ranks["image"] and ours["workingDir"] == ranks["workingDir"]
    assert shell["spec"]["volumes"][0] == job["template"]["spec"]["volumes"][0]


def test_the_action_for_each_exit_code_of_a_pod(job: dict[str, Any]) -> None:
    rules = job["podFailurePolicy"]["rules"]
    (container,) = job["template"]["spec"]["containers"]
    actions = {code: rule["action"] for rule in rules for code in rule["onExitCodes"]["values"]}
    assert {rule["onExitCodes"]["containerName"] for rule in rules} == {container["name"]}
    assert actions == {STOPPED_ON_REQUEST: "Ignore", UserError.exit_code: "FailJob", DataError.exit_code: "FailJob"}
    assert job["template"]["spec"]["restartPolicy"] == "Never"  # a pod failure policy works with no other
