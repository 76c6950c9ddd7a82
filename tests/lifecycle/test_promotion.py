"""Register, judge, promote, roll back, on a real store, with real models that are scored in processes of their own."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from baton import cli, params
from baton.errors import DataError, ModelError, TrackingError
from baton.lifecycle import promotion
from baton.lifecycle.registry import Registry, number, register
from baton.tracking import store
from tests.lifecycle.conftest import Publish, write_clean
from tests.tracking.conftest import ROOT


def registry() -> Registry:
    active = params.read()
    assert isinstance(active.tracking, params.MlflowTracking)
    return Registry(store.open_store(active.tracking), active.promotion.name)


def settings() -> params.Promotion:
    return params.read().promotion


def aliases(own: Registry) -> dict[str, str]:
    found = ((name, own.alias(name)) for name in ("champion", "challenger"))
    return {name: number(version) for name, version in found if version}


def judge(own: Registry, enabled: bool = True) -> promotion.Outcome:
    register(own, settings())
    return promotion.promote(own, settings(), enabled)


def failed(outcome: promotion.Outcome) -> list[str]:
    return [check["name"] for check in outcome.record["checks"] if not check["passed"]]


def test_from_the_first_champion_to_a_better_one_and_back(publish: Publish, project: Path) -> None:
    import mlflow

    own = registry()
    publish(epochs=1, seed=3)
    assert failed(judge(own)) == ["first champion"], "as good as chance"
    publish(epochs=2)
    dry = judge(own, enabled=False)
    assert dry.passed and not dry.moved and aliases(own) == {"challenger": "2"}
    first = judge(own)
    assert first.moved and aliases(own) == {"champion": "2"}
    assert judge(own).text.endswith("there is nothing to decide."), "again"
    assert len(own.versions()) == 2, "the same model is registered once"

    publish(epochs=8)
    better = judge(own)
    assert better.moved and aliases(own) == {"champion": "3"}, better.text
    mlflow.set_tracking_uri(own.client.tracking_uri)
    champion = f"models:/{own.name}@champion"
    after = mlflow.pyfunc.load_model(champion).metadata.model_uuid
    version = own.version("3")
    assert version.tags["gate.verdict"] == "promoted" and version.tags["gate.previous_champion"] == "2"
    assert "passed" in version.description and "| figure |" in version.description
    kept = json.loads(own.read(version, promotion.VERDICT) or "")
    assert kept["table"]["sha256"] == version.tags["gate.table_sha256"] == json.loads(version.tags["gate.json"])["table"]["sha256"]

    back = promotion.roll_back(own, "2")
    assert back.moved and aliases(own)["champion"] == "2"
    assert mlflow.pyfunc.load_model(champion).metadata.model_uuid != after


def test_what_must_not_become_the_champion(publish: Publish, project: Path) -> None:
    own = registry()
    publish(epochs=8)
    assert judge(own).moved
    publish(epochs=1, seed=3)  # its stored figure is as good as the champion's: 0.99
    worse = judge(own)
    assert failed(worse)[0] == "gain" and aliases(own) == {"champion": "1", "challenger": "2"}
    assert own.version("2").tags["figure.student/val_accuracy"] == "0.99"
    publish(epochs=8, seed=1)
    tie = judge(own)
    assert failed(tie) == ["gain"] and "no detectable difference" in tie.text
    publish(epochs=9, labels=["ship", "grain", "trade"])
    swapped = judge(own)
    assert {"gain", "label map"} <= set(failed(swapped)) and "read grain as ship" in swapped.text
    path = project / "params.yaml"
    path.write_text(path.read_text().replace("test: data/clean/test.parquet", "test: data/clean/val.parquet"))
    publish(epochs=10)
    leaky = judge(own)
    assert "leakage" in failed(leaky) and "were in the challenger's training data: val:1" in leaky.text
    assert own.version("5").tags["gate.verdict"] == "refused" and "training data" in own.version("5").tags["gate.reasons"]


def test_the_command_line(publish: Publish, project: Path) -> None:
    (project / "dvc.yaml").write_text("stages: {}\n")
    run = CliRunner().invoke
    assert "has no challenger" in output(run(cli.app, ["promote"]), 1)
    publish(epochs=8)
    assert "version 1 (challenger)" in output(run(cli.app, ["register"]), 0)
    assert "registered before" in output(run(cli.app, ["register"]), 0)
    assert "passed" in output(run(cli.app, ["promote", "--mode", "enabled", "--json", "verdict.json"]), 0)
    assert json.loads(Path("verdict.json").read_text())["passed"] is True
    publish(epochs=1, seed=3)
    assert "registered: " in output(run(cli.app, ["register"]), 0)
    assert "NOT met, gain" in output(run(cli.app, ["promote"]), 3)
    assert "has no version 7" in output(run(cli.app, ["promote", "--to", "7"]), 1)


def output(result: Any, code: int) -> str:
    assert result.exit_code == code, result.output
    return " ".join(result.output.split())


def test_other_data_than_the_models_is_refused(publish: Publish) -> None:
    publish(epochs=0)
    write_clean(Path("data/clean"), copies=5)
    with pytest.raises(DataError, match=r"train\.parquet is not what the model was trained on"):
        register(registry(), settings())


def test_a_model_that_the_store_does_not_know_is_refused(publish: Publish) -> None:
    with pytest.raises(ModelError, match="models/student is missing"):
        register(registry(), settings())
    publish(epochs=0)
    (Path("models/student") / "more.txt").write_text("x")
    with pytest.raises(TrackingError, match="is not in the MLflow store"):
        register(registry(), settings())


MOVE = """
import sys
from tests.lifecycle.test_promotion import *
from baton import tracking
tracking.prepare()
own = registry()
version = own.version(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
try:
    promotion._move(own, version, None)
    print("won", flush=True)
except TrackingError as error:
    print("lost", str(error).splitlines()[0], flush=True)
"""


def test_of_two_promotions_at_once_one_wins(publish: Publish, project: Path) -> None:
    own = registry()
    for seed in (0, 1):
        publish(epochs=0, seed=seed)
        register(own, settings())
    for _ in range(3):
        command = [sys.executable, "-c", MOVE]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        environment = {"PYTHONPATH": f"{ROOT}/src:{ROOT}", "PATH": "/usr/bin:/bin"}
        both = [subprocess.Popen([*command, number], env=environment, **pipes) for number in ("1", "2")]  # type: ignore[call-overload]
        for process in both:
            assert process.stdout.readline() == "ready\n"
        for process in both:
            process.stdin.write("\n")
            process.stdin.flush()
        told = sorted(process.communicate()[0].split()[0] for process in both)
        assert told == ["lost", "won"]
        own.client.delete_registered_model_alias(own.name, "champion")


def test_a_champion_that_changed_meanwhile_is_noticed(publish: Publish) -> None:
    own = registry()
    publish(epochs=0)
    version, _ = register(own, settings())
    promotion.roll_back(own, number(version))
    with pytest.raises(TrackingError, match="changed meanwhile"):
        promotion._move(own, version, None)
