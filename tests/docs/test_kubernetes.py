"""The manifests for Kubernetes: that they are valid and confined, and that their parts are those of the service."""

import importlib
import re
import shutil
import subprocess
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from service.core.config import Settings
from tests.docs.markdown import REPOSITORY

K8S = REPOSITORY / "deploy" / "k8s"
KUSTOMIZATION = "kustomization.yaml"
DEFAULTS = Settings.from_env({})


def documents(path: Path) -> list[dict[str, Any]]:
    yaml = importlib.import_module("yaml")  # it publishes no types
    return list(yaml.safe_load_all(path.read_text(encoding="utf-8")))


def resources() -> Iterator[dict[str, Any]]:
    for path in sorted(K8S.rglob("*.yaml")):
        if path.name != KUSTOMIZATION:
            yield from documents(path)


def named(kind: str, name: str) -> dict[str, Any]:
    (one,) = [r for r in resources() if (r["kind"], r["metadata"]["name"]) == (kind, name)]
    return one


def pods() -> dict[str, dict[str, Any]]:
    kinds = ("Deployment", "Job")
    return {r["metadata"]["name"]: r["spec"]["template"]["spec"] for r in resources() if r["kind"] in kinds}


def name_of(resource: dict[str, Any]) -> str:
    return f"{resource['kind']} {resource['metadata']['name']}"


OF_KUBERNETES = [r for r in resources() if not r["apiVersion"].startswith("keda.sh/")]


@pytest.mark.parametrize("resource", OF_KUBERNETES, ids=name_of)
def test_every_resource_is_one_of_kubernetes(resource: dict[str, Any]) -> None:
    """No field that Kubernetes does not know, and none of a wrong type."""
    validate = importlib.import_module("kubernetes_validate")  # it publishes no types
    validate.validate(resource, validate.latest_version(), strict=True)


def test_every_file_is_in_its_kustomization() -> None:
    """What is not listed would not be applied, and what is listed must be there."""
    for path in K8S.rglob(KUSTOMIZATION):
        (listed,) = documents(path)
        files = {one.name for one in path.parent.glob("*.yaml")} - {KUSTOMIZATION}
        assert {one for one in listed["resources"] if one.endswith(".yaml")} == files, path
        for other in (*listed["resources"], *listed.get("components", ())):
            assert (path.parent / other).exists(), other


@pytest.mark.skipif(
    shutil.which("kubectl") is None, reason="kubectl, which renders overlays, is not installed"
)
def test_the_example_renders() -> None:
    """An overlay of base and component comes to the same resources, in its namespace, with its image."""
    command = ["kubectl", "kustomize", str(K8S / "overlays" / "example")]
    rendered = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    yaml = importlib.import_module("yaml")
    shown = list(yaml.safe_load_all(rendered))

    assert {name_of(one) for one in shown} == {name_of(one) for one in resources()}
    assert {one["metadata"]["namespace"] for one in shown if one["kind"] != "Namespace"} == {"batch-release"}
    assert "image: batch-release\n" not in rendered


@pytest.mark.parametrize("name", pods())
def test_every_container_is_confined(name: str) -> None:
    """No root, no privilege, no writable disk, no token of the cluster; memory has a bound."""
    pod = pods()[name]
    (container,) = pod["containers"]
    security = container["securityContext"]

    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert security["allowPrivilegeEscalation"] is False
    assert security["readOnlyRootFilesystem"] is True
    assert security["capabilities"] == {"drop": ["ALL"]}
    assert container["resources"]["limits"]["memory"]


def test_what_runs_is_told_in_commands_and_settings_of_the_service() -> None:
    """A command or a setting that was renamed would only be found in a cluster."""
    env = [one for pod in pods().values() for one in pod["containers"][0].get("env", ())]
    (settings,) = [r["data"] for r in resources() if r["kind"] == "ConfigMap"]
    Settings.from_env({**settings, **{one["name"]: one["value"] for one in env}})

    assert {tuple(pod["containers"][0]["args"]) for pod in pods().values()} == {
        ("migrate",),
        ("api",),
        ("worker",),
    }


def test_health_is_asked_where_it_is_served() -> None:
    """Both processes listen on the port that the probes name, on all addresses."""
    for name, port in (("batch-release-api", DEFAULTS.http_port), ("batch-release-worker", 8081)):
        (container,) = pods()[name]["containers"]
        (served,) = container["ports"]
        env = {one["name"]: one["value"] for one in container["env"]}
        assert served["containerPort"] == port
        assert env["RELEASE_HTTP_HOST"] == "0.0.0.0"  # noqa: S104 - of a pod
        assert name != "batch-release-worker" or env["RELEASE_WORKER_HTTP_PORT"] == str(port)
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            assert container[probe]["httpGet"]["port"] == served["name"]


def test_a_worker_has_more_time_to_end_than_its_calls() -> None:
    """Kubernetes kills it after the grace, and a killed call is in doubt."""
    grace = timedelta(seconds=pods()["batch-release-worker"]["terminationGracePeriodSeconds"])

    assert grace > DEFAULTS.grace + timedelta(seconds=5)


async def test_the_scaler_counts_what_is_due(database_url: str) -> None:
    """Its statement runs on the schema, and nothing is due at first."""
    (trigger,) = named("ScaledObject", "batch-release-worker")["spec"]["triggers"]
    connection = await asyncpg.connect(database_url)
    try:
        assert await connection.fetchval(trigger["metadata"]["query"]) == 0
    finally:
        await connection.close()


def test_the_secrets_of_the_guide_are_settings_or_credentials() -> None:
    """What the guide puts into the Secret is what a process looks for in ``/run/secrets``."""
    guide = (REPOSITORY / "docs" / "deployment.md").read_text(encoding="utf-8")
    compose = (REPOSITORY / "docker-compose.yml").read_text(encoding="utf-8")

    assert set(re.findall(r"--from-literal=(\w+)=", guide)) <= set(re.findall(r"- (\w+)\n", compose))
