"""The services of infra/compose.yaml: pinned versions, health checks, and no default passwords."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from tests.conftest import ROOT

TEXT = (ROOT / "infra" / "compose.yaml").read_text()
SERVICES: dict[str, Any] = yaml.safe_load(TEXT)["services"]
LOCK = dict(
    line.split("==") for line in (ROOT / "requirements.lock").read_text().splitlines() if line and "==" in line
)  # fmt: skip


def test_images_are_pinned_and_clients_and_servers_agree() -> None:
    for name, service in SERVICES.items():
        image = service.get("image") or re.search(r"FROM (\S+)", service["build"]["dockerfile_inline"])[1]  # type: ignore[index]
        assert re.search(r":\D*\d+\.\d+|RELEASE\.\d", image), f"{name}: {image}"
    assert SERVICES["prefect"]["image"].startswith(f"prefecthq/prefect:{LOCK['prefect']}-")
    assert f"mlflow=={LOCK['mlflow']} " in SERVICES["mlflow"]["build"]["dockerfile_inline"]


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_has_a_health_check_and_waits_for_what_it_needs(name: str) -> None:
    service = SERVICES[name]
    if "restart" in service:
        assert service["healthcheck"]["test"]
    for needed, condition in service.get("depends_on", {}).items():
        lasting = "restart" in SERVICES[needed]
        assert condition == {"condition": "service_healthy" if lasting else "service_completed_successfully"}
    for port in service.get("ports", []):
        assert port.startswith("${GPTOSS_BIND:-127.0.0.1}:")


def test_secrets_come_from_the_environment_and_have_no_default() -> None:
    example = (ROOT / "infra" / "compose.env.example").read_text()
    assignments = dict(line.split("=", 1) for line in example.splitlines() if line and not line.startswith("#"))
    used = set(re.findall(r"\$\{(\w+)", TEXT))
    required = set(re.findall(r"\$\{(\w+):\?", TEXT))
    assert used == set(assignments)
    assert required == {name for name, value in assignments.items() if not value}
    for service in SERVICES.values():
        for key, value in service.get("environment", {}).items():
            assert not re.search("PASSWORD|SECRET", key) or re.fullmatch(r"\$\{\w+:\?.*\}", value), key
    assert "infra/compose.env" in (ROOT / ".gitignore").read_text()


def test_mlflow_accepts_the_host_names_it_is_called_by() -> None:
    hosts = SERVICES["mlflow"]["environment"]["MLFLOW_SERVER_ALLOWED_HOSTS"].split(",")
    assert {"mlflow:5000", "localhost:5000", "${GPTOSS_HOST:-localhost}:5000"} <= set(hosts)
