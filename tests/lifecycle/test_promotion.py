"""Register, judge, promote and roll back, in a real store, with real models scored in separate processes."""

import contextlib
import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from baton import params, tracking
from baton.cli import app
from baton.errors import DataError, ModelError, TrackingError
from baton.lifecycle.promotion import history, moving, promote, promotion_lock
from baton.lifecycle.promotion.promotion_lock import claim, claims, drop
from baton.lifecycle.promotion.verdicts import Mark
from baton.lifecycle.registration import register
from baton.lifecycle.registry import Registry, number
from baton.lifecycle.retraining import decision, drift
from baton.tasks import figure_scale
from baton.tracking import store
from tests import tiny
from tests.lifecycle.conftest import Publish, write_clean
from tests.tracking.conftest import ROOT
from tests.tracking.reading import REASONS, settle


def registry() -> Registry:
    active = params.read()
    assert isinstance(active.tracking, params.MlflowTracking)
    return Registry(store.open_store(active.tracking), active.promotion.name)


def settings() -> params.Promotion:
    return params.read().promotion


def aliases(own: Registry) -> dict[str, str]:
    found = ((name, own.alias(name)) for name in ("champion", "challenger"))
    return {name: number(version) for name, version in found if version}


def judge(own: Registry, enabled: bool = True) -> promote.Outcome:
    register(own, settings())
    return promote.promote(own, settings(), enabled)


def failed(outcome: promote.Outcome) -> list[str]:
    return [check["name"] for check in outcome.record["checks"] if not check["passed"]]


@pytest.mark.slow
def test_from_the_first_champion_to_a_better_one_and_back(publish: Publish, project: Path) -> None:
    import mlflow

    (project / "dvc.yaml").write_text("stages: {}\n")
    own = registry()
    assert "has no challenger" in baton("promote", code=1)
    publish(epochs=1, seed=3)
    assert "version 1 (challenger)" in baton("register")
    assert "already registered" in baton("register")
    assert "NOT met, first champion" in baton("promote", "--mode", "enabled", code=3), "no better than chance"
    path = project / "params.yaml"
    path.write_text(
        path.read_text()
        .replace("first_minimum: 0.6", "first_minimum: 0.0")
        .replace("recall: 0.3", "recall: 0.0")
    )
    publish(epochs=0)
    dry = judge(own, enabled=False)
    assert dry.passed and not dry.moved and aliases(own) == {"challenger": "2"}, dry.text
    assert "now version 2" in baton("promote", "--mode", "enabled", "--json", "verdict.json")
    assert json.loads(Path("verdict.json").read_text())["passed"] is True and aliases(own) == {
        "champion": "2"
    }
    assert "there is nothing to decide" in judge(own).text, "again"
    assert len(own.versions()) == 2, "the same model is registered once"

    publish(epochs=10)
    better = judge(own)
    assert better.moved and aliases(own) == {"champion": "3"}, better.text
    mlflow.set_tracking_uri(own.client.tracking_uri)
    champion = f"models:/{own.name}@champion"
    after = mlflow.pyfunc.load_model(champion).metadata.model_uuid
    version = own.version("3")
    assert version.tags["gate.verdict"] == "promoted" and version.tags["gate.previous_champion"] == "2"
    assert "passed" in version.description and "| figure |" in version.description
    assert version.tags["baton.seed"] == "0" and "\n- seed 0\n" in version.description
    kept = json.loads(own.read(version, promote.VERDICT) or "")
    assert (
        kept["table"]["sha256"]
        == version.tags["gate.table_sha256"]
        == json.loads(version.tags["gate.json"])["table"]["sha256"]
    )

    reached = history.marks(own, kept["table"]["sha256"], tiny.ACCURACY, "gate.rolled_back")
    assert (
        reached.champion == Mark("version 3", kept["figures"]["challenger"]["accuracy"])
        and reached.baseline is None
    )
    assert "This is verdict 4 on this table." in version.description, (
        "a refusal, a dry run, and two that passed"
    )
    assert "not judged against baselines" in version.description

    assert "has no version 7" in baton("promote", "--to", "7", code=1)
    assert (
        "is now the champion, set by hand" in baton("promote", "--to", "2")
        and aliases(own)["champion"] == "2"
    )
    assert mlflow.pyfunc.load_model(champion).metadata.model_uuid != after
    again = judge(own)
    assert failed(again) == ["rolled back"] and aliases(own) == {"champion": "2", "challenger": "3"}, (
        "a retraining does not undo it"
    )
    before = history.marks(own, kept["table"]["sha256"], tiny.ACCURACY, "gate.rolled_back").champion
    assert before == Mark("version 2", kept["figures"]["champion"]["accuracy"]), (
        "a rolled-back champion sets no mark"
    )
    promote.roll_back(own, "3")
    assert "gate.rolled_back" not in own.version("3").tags and "gate.rolled_back" in own.version("2").tags


@pytest.mark.slow
def test_what_must_not_become_the_champion(publish: Publish, project: Path) -> None:
    own = registry()
    publish(epochs=10)
    register(own, settings())
    promote.roll_back(own, "1")
    with tracking.stage("evaluate", REASONS) as run:
        run.dataset("test", Path("data/clean/test.parquet"), "evaluation")
        run.final(
            {"majority/test_accuracy": 0.3, "tfidf_svm/test_accuracy": 0.8, "teacher/test_accuracy": 0.99}
        )
    settle()
    publish(epochs=0, seed=3, figure=0.99)
    path = project / "params.yaml"
    path.write_text(path.read_text().replace("looks: 20", "looks: 1"))
    worse = judge(own)
    assert {"best champion", "baseline", "class losses"} <= set(
        failed(worse)
    ) and r"best baseline, tfidf\_svm: 80.00%" in worse.text
    assert "promotion.looks" not in worse.text, (
        "the first verdict on this table: its champion was set by hand"
    )
    assert failed(worse)[0] == "gain" and aliases(own) == {"champion": "1", "challenger": "2"}
    stored = [own.version(wanted).tags["figure.student/val_accuracy"] for wanted in ("1", "2")]
    assert stored == ["0.9", "0.99"], "its stored figure is better than the champion's"
    publish(epochs=10, seed=1)
    tie = judge(own)
    assert "This is verdict 2 on this table. That is more than promotion.looks (1)" in tie.text
    assert (
        "challengers that are no better than the champion, one passes by chance with a probability of "
        "up to 5%"
    ) in tie.text, "1 - 0.975**2"
    assert failed(tie) == ["gain"] and "is not distinguishable from the champion" in tie.text
    path.write_text(path.read_text().replace("test: data/clean/test.parquet", "test: data/clean/val.parquet"))
    publish(epochs=10, seed=2, labels=["ship", "grain", "trade"])
    both = judge(own)
    assert {"gain", "label map", "leakage"} <= set(failed(both))
    assert (
        "reading grain as ship" in both.text and "were in the challenger's training data: val:1" in both.text
    )
    assert (
        own.version("4").tags["gate.verdict"] == "refused"
        and "training data" in own.version("4").tags["gate.reasons"]
    )


def baton(*words: str, code: int = 0) -> str:
    """Return the output of the command line."""
    result = CliRunner().invoke(app.app, words)
    assert result.exit_code == code, result.output
    return " ".join(result.output.split())


def test_drift_is_judged_by_a_profile_of_this_layout_also_of_rows_without_labels(
    publish: Publish, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "dvc.yaml").write_text("stages: {}\n")
    (project / "dvc.lock").write_text("schema: '2.0'\nstages: {}\n")
    raw = params.read_raw()
    raw["preprocess"]["format"] |= {"delimiter": "\t", "quote": None, "skip_lines": 0, "columns": None}
    (project / "params.yaml").write_text(yaml.safe_dump(raw))
    assert "no champion" in baton("drift", "params.yaml", code=1)
    own = registry()
    publish(epochs=10)
    monkeypatch.setattr(decision, "_changed", lambda then, now, commit: "")
    with monkeypatch.context() as patched:
        patched.setattr(drift, "profile", lambda clean: {"rows": [], "labels": {"ship": 1.0}})
        promote.roll_back(own, number(register(own, settings())[0]))
    texts = [
        f"{number} {line}" for number in (0, 1, 2, 100, 101) for some in tiny.TEXTS.values() for line in some
    ]
    (project / "same.tsv").write_text("\n".join(["text", *texts]) + "\n")
    (project / "other.tsv").write_text(
        "\n".join(["text", *(f"results of {place}" for place in range(40))]) + "\n"
    )
    assert "version 1 has an earlier layout" in decision.decide(own, params.read().retrain)
    assert "got: layout 1" in baton("drift", "same.tsv", code=1)
    register(own, settings())
    assert "not: 0 rows are new" in decision.decide(own, params.read().retrain)
    assert (
        "60 rows of" in (said := baton("drift", "same.tsv"))
        and "within the limits" in said
        and "predicted" not in said
    )
    assert (
        "predicted labels: distance 0" in (said := baton("drift", "same.tsv", "--predict"))
        and "within the limits" in said
    )
    (project / "grain.tsv").write_text(
        "\n".join(["text", *(f"{number} {line}" for number in range(3) for line in tiny.TEXTS["grain"])])
        + "\n"
    )
    assert "retrain.drift: labels" in baton("drift", "grain.tsv", "--predict", code=3)
    assert (
        "beyond the limits of retrain.drift: lengths" in (said := baton("drift", "other.tsv", code=3))
        and "unknown" in said
    )
    (project / "several").mkdir()
    assert "several has no rows" in baton("drift", "several", code=1)
    (project / "several/part.tsv").write_bytes((project / "same.tsv").read_bytes())
    assert "60 rows of" in baton("drift", "several")
    (project / "data/clean/val.parquet").unlink()
    assert "predicted labels: not judged" in baton("drift", "same.tsv", "--predict")


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
for _ in sys.stdin:
    try:
        moving.move(own, version, None)
        print("won", flush=True)
    except TrackingError as error:
        print("lost", flush=True)
"""


@pytest.mark.slow
def test_of_two_promotions_at_once_one_wins(publish: Publish, project: Path) -> None:
    own = registry()
    for seed in (0, 1):
        publish(epochs=0, seed=seed)
        register(own, settings())
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    environment = {"PYTHONPATH": f"{ROOT}/src:{ROOT}", "PATH": "/usr/bin:/bin"}
    command = [sys.executable, "-c", MOVE]
    both = [subprocess.Popen([*command, number], env=environment, **pipes) for number in ("1", "2")]  # type: ignore[call-overload]
    assert [process.stdout.readline() for process in both] == ["ready\n"] * 2
    for _ in range(5):
        for process in both:
            process.stdin.write("\n")
            process.stdin.flush()
        assert sorted(process.stdout.readline() for process in both) == ["lost\n", "won\n"]
        own.client.delete_registered_model_alias(own.name, "champion")
    for process in both:
        process.communicate()


def test_the_claim_of_a_killed_promotion_is_taken_over_and_no_other(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = registry()
    monkeypatch.setattr(promotion_lock, "PATIENCE_SECONDS", 0.2)
    with (
        claim(own.client, own.name),
        pytest.raises(TrackingError, match=r"another promotion .* is moving aliases"),
        claim(own.client, own.name),
    ):
        pytest.fail("two at once")
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    for holder, seconds, free in (
        (["elsewhere:1", 1.0, "x"], -1.0, True),  # by the store's clock
        (["elsewhere:1", 1.0, "x"], 600.0, False),
        ([f"{socket.gethostname()}:{dead.pid}", 1.0, "x"], 600.0, True),
    ):
        monkeypatch.setattr(promotion_lock, "STALE_SECONDS", seconds)
        own.client.create_registered_model(f"{own.name}.promotion.4", {"baton.holder": json.dumps(holder)})
        with (
            contextlib.nullcontext() if free else pytest.raises(TrackingError, match="one at a time"),
            claim(own.client, own.name),
        ):
            assert list(claims(own.client, own.name)) == [5]
        assert list(claims(own.client, own.name)) == ([] if free else [4])
        drop(own.client, own.name, 4)


def test_a_champion_that_changed_meanwhile_is_noticed(publish: Publish) -> None:
    own = registry()
    publish(epochs=0)
    version, _ = register(own, settings())
    promote.roll_back(own, number(version))
    with pytest.raises(TrackingError, match="changed meanwhile"):
        moving.move(own, version, None)


@pytest.mark.parametrize("reached", [True, False], ids=["answer lost", "request lost"])
def test_a_lost_answer_makes_no_second_version(
    publish: Publish, monkeypatch: pytest.MonkeyPatch, reached: bool
) -> None:
    own, faults = registry(), [ConnectionError("reset")]
    publish(epochs=0)
    create = own.client.create_model_version

    def losing(*arguments: Any, **more: Any) -> Any:
        assert os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] == "0", "MLflow would repeat it"
        made = create(*arguments, **more) if reached or not faults else None
        if faults:
            raise faults.pop()
        return made

    monkeypatch.setattr(own.client, "create_model_version", losing)
    version, is_new = register(own, settings())
    assert (number(version), is_new, len(own.versions())) == ("1", True, 1)


@pytest.mark.slow
def test_a_student_of_images_becomes_the_champion_and_a_worse_one_does_not(publish_images: Publish) -> None:
    """The gate gives each model the encoded images; the test table's rows are known by their pixels."""
    own = registry()
    publish_images(epochs=6)
    first = judge(own)
    assert first.moved and aliases(own)["champion"] == "1", first.text
    assert '.predict([Path("picture.png")' in own.version("1").description
    publish_images(epochs=0, seed=3, figure=0.99)
    path = Path("params.yaml")
    path.write_text(path.read_text().replace("test: data/clean/test.parquet", "test: data/clean/val.parquet"))
    worse = judge(own)
    assert {"gain", "leakage"} <= set(failed(worse)) and aliases(own)["champion"] == "1"
    assert "were in the challenger's training data: val:1" in worse.text


@pytest.mark.parametrize(
    ("rule", "share", "said"),
    [
        ({"kind": "gain", "minimum": 0.0}, True, "that are no better than the champion, one passes"),
        (
            {"kind": "gain", "minimum": 0.01},
            True,
            "that are better than the champion by no more than 1.0 points, one passes",
        ),
        (
            {"kind": "non_inferiority", "margin": 0.005},
            True,
            "that are worse than the champion by 0.5 points, one passes",
        ),
        (
            {"kind": "non_inferiority", "margin": 0.005},
            False,
            "that are worse than the champion by 0.005, one passes",
        ),
    ],
)
def test_what_many_looks_let_pass_depends_on_the_rule(rule: dict[str, Any], share: bool, said: str) -> None:
    """Under non-inferiority, a challenger that is as good passes nearly always, and not by chance."""
    scale = figure_scale.Scale("accuracy" if share else "mae", 1 if share else -1, share)
    text = promote._looked(3, {"looks": 2, "rule": rule, "bootstrap": {"confidence": 0.95}}, scale)
    assert said in text and "up to 7%" in text  # 1 - 0.975**3
