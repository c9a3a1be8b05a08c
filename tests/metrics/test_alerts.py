"""The shipped alerts: checked and tried by promtool, each documented."""

import importlib
import subprocess
from typing import Any

import pytest

from tests.docs.markdown import Page
from tests.metrics.prometheus import SHIPPED, program


def read_yaml(name: str) -> Any:  # noqa: ANN401 - any YAML
    yaml = importlib.import_module("yaml")  # it publishes no types
    return yaml.safe_load((SHIPPED / name).read_text(encoding="utf-8"))


def rules() -> list[dict[str, Any]]:
    (group,) = read_yaml("alerts.yml")["groups"]
    found: list[dict[str, Any]] = group["rules"]
    return found


@pytest.mark.parametrize(
    "arguments",
    [
        ("check", "rules", "alerts.yml"),
        ("check", "config", "prometheus.yml"),
        ("check", "config", "compose.yml"),
        ("test", "rules", "alerts_test.yml"),
    ],
    ids=" ".join,
)
def test_promtool_is_content(arguments: tuple[str, ...]) -> None:
    """Prometheus' own tool accepts the rules and the configuration, and each rule fires and does not as it should."""
    run = subprocess.run(
        [program("promtool"), *arguments],
        cwd=SHIPPED,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert run.returncode == 0, run.stdout + run.stderr


def test_each_alert_is_tried_both_ways() -> None:
    """alerts_test.yml has for every alert series at which it fires, and some at which it does not."""
    tried: dict[str, set[bool]] = {}
    for test in read_yaml("alerts_test.yml")["tests"]:
        for case in test["alert_rule_test"]:
            tried.setdefault(case["alertname"], set()).add(bool(case["exp_alerts"]))

    assert tried == {rule["alert"]: {True, False} for rule in rules()}


def test_each_alert_says_what_to_do() -> None:
    """Each has a severity, a summary, a description, and a section of docs/operations.md by its name."""
    for rule in rules():
        said = rule["annotations"]

        assert rule["labels"]["severity"] in {"critical", "warning"}
        assert said.keys() == {"summary", "description", "runbook"}
        assert said["runbook"] == f"docs/operations.md#{rule['alert'].lower()}"
        assert rule["alert"].lower() in Page.read("docs/operations.md").anchors
