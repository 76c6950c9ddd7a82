"""What a pull request can reach on GitHub: no secret, no token that writes, no code but what is pinned."""

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

ROOT = Path(__file__).parent.parent
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
SECRET = re.compile(r"secrets\.|github\.token")


def read(name: str) -> dict[str, Any]:
    found: dict[str, Any] = YAML(typ="safe", pure=True).load(ROOT / f".github/workflows/{name}.yml")
    return found


def jobs() -> list[tuple[str, dict[str, Any], dict[str, Any]]]:
    loaded = [(path.stem, read(path.stem)) for path in WORKFLOWS]
    return [(f"{file}.{name}", job, flow) for file, flow in loaded for name, job in flow["jobs"].items()]


def runs_for_pull_requests(job: dict[str, Any], flow: dict[str, Any]) -> bool:
    return "pull_request" in flow["on"] and "!= 'pull_request'" not in job.get("if", "")


def writes(job: dict[str, Any], flow: dict[str, Any]) -> bool:
    return "write" in job.get("permissions", flow.get("permissions", {"all": "write"})).values()


@pytest.mark.parametrize(("name", "job", "flow"), jobs(), ids=[name for name, *_ in jobs()])
def test_a_pull_request_gets_nothing(name: str, job: dict[str, Any], flow: dict[str, Any]) -> None:
    assert "pull_request_target" not in flow["on"]
    if runs_for_pull_requests(job, flow):
        assert not SECRET.search(str(job)) and "environment" not in job and not writes(job, flow)


@pytest.mark.parametrize(("name", "job", "flow"), jobs(), ids=[name for name, *_ in jobs()])
def test_secrets_are_on_the_step_that_needs_them(
    name: str, job: dict[str, Any], flow: dict[str, Any]
) -> None:
    assert not SECRET.search(str({**job, "steps": None})), "job-wide"
    for step in job["steps"]:
        assert not ("secrets." in str(step) and "environment" not in job), "secrets without an Environment"
        if "uses" in step:
            assert re.fullmatch(r"[\w/.-]+@[0-9a-f]{40}", step["uses"]) and not SECRET.search(str(step))
        if step.get("uses", "").startswith("actions/checkout@"):
            assert step["with"]["persist-credentials"] is False
        assert "${{" not in step.get("run", ""), "an expression in a script is code"
    if any("secrets." in str(step) for step in job["steps"]):
        assert not any("cache" in step.get("with", {}) for step in job["steps"])


def test_the_step_that_retrains_gets_the_variables_of_a_remote_on_s3() -> None:
    named = set(
        re.findall(r"AWS_\w+", (ROOT / "docs/s3.md").read_text().split("In CI put")[1].split("##")[0])
    )
    steps = [(name, step) for name, job, _ in jobs() for step in job["steps"] if "AWS_" in str(step)]
    assert [(name, step["name"]) for name, step in steps] == [("retrain.retrain", "retrain")]
    assert named == {name for name in steps[0][1]["env"] if name.startswith("AWS_")}
    assert chosen(steps[0][1]["env"]["AWS_DEFAULT_REGION"], {}), "botocore takes an empty one for a region"


CHOICES = [({}, "dry-run"), ({"vars.RETRAIN_MODE": "enabled"}, "enabled")]
CHOICES += [({"github.event.inputs.mode": "dry-run", "vars.RETRAIN_MODE": "enabled"}, "dry-run")]


@pytest.mark.parametrize(("known", "mode"), CHOICES)
def test_nothing_is_promoted_unless_somebody_said_so(
    known: dict[str, str], mode: str, tmp_path: Path
) -> None:
    """The step's own script runs with a stand-in for `baton` that prints its arguments."""
    step = next(step for step in read("retrain")["jobs"]["retrain"]["steps"] if step.get("name") == "retrain")
    baton = tmp_path / ".venv/bin/baton"
    baton.parent.mkdir(parents=True)
    baton.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    baton.chmod(0o755)
    environment = {"PATH": os.defpath, "MODE": chosen(step["env"]["MODE"], known), "OVERRIDES": "a.b=* c.d=2"}
    ended = subprocess.run(
        ["bash", "-e", "-c", step["run"]],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    first, *said, last = ended.stdout.split()
    assert first.startswith("::stop-commands::") and last == f"::{first.rpartition('::')[2]}::"
    assert said == ["retrain", "--mode", mode, "-S", "a.b=*", "-S", "c.d=2"]


def chosen(expression: str, known: dict[str, str]) -> str:
    """Evaluate `${{ a || b || 'c' }}`."""
    for term in expression.removeprefix("${{").removesuffix("}}").split("||"):
        name = term.strip()
        if value := name.strip("'") if name.startswith("'") else known.get(name):
            return value
    return ""
