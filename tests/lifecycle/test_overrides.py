"""`-S`: no secret gets into params, the gate's rules stay, and in CI only some sections can be changed."""

import subprocess
from pathlib import Path

import pytest

from baton import params
from baton.errors import OutputError, ParamsError, TrackingError
from baton.lifecycle.retraining import lent_files, overrides, prerequisites, rules
from baton.tracking import store

SECRET = "planted-secret"


@pytest.fixture(autouse=True)
def _by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CI", "JENKINS_URL", "BATON_OVERRIDABLE", "BATON_TRACKING_SERVER"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)


def test_a_value_is_taken_literally(project: Path) -> None:
    with pytest.raises(ParamsError, match="taken literally"):
        overrides.check(["description=${oc.env:AWS_SECRET_ACCESS_KEY}"])
    path = project / "params.yaml"
    text = path.read_text().replace("description: ", "description: ${oc.env:AWS_SECRET_ACCESS_KEY} ", 1)
    path.write_text(text)
    made = overrides.applied(["finetune.epochs=7", "finetune.seeds=[0, 1]"])
    assert SECRET not in made and "${oc.env:AWS_SECRET_ACCESS_KEY}" in made
    path.write_text(made)
    changed = [line for line in made.splitlines() if line not in text.splitlines()]
    assert len(changed) == 2 and params.read().finetune.seeds == (0, 1), "comments and layout stay"
    assert params.read().finetune.epochs == 7


@pytest.mark.parametrize(
    "bad", ["finetune.epochs", "=3", "finetune epochs=3", "finetune.epochs=[1", "a.b.c=1"]
)
def test_what_is_no_override_is_refused(project: Path, bad: str) -> None:
    with pytest.raises(ParamsError):
        overrides.applied([bad])


def test_the_gates_rules_cannot_be_overridden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BATON_OVERRIDABLE", "promotion")
    with pytest.raises(ParamsError, match="rules of the gate"):
        overrides.check(["promotion.first_minimum=0"])


def test_in_ci_only_some_sections_can_be(monkeypatch: pytest.MonkeyPatch) -> None:
    bad = ["tracking.uri=http://other", "runtime.launcher=evil", "base={kind: hub}", "source.kind=package"]
    overrides.check(bad)
    monkeypatch.setenv("CI", "true")
    for override in bad:
        with pytest.raises(ParamsError, match="may not be overridden in CI"):
            overrides.check(["finetune.epochs=2", override])
    overrides.check(["finetune.epochs=2", "distill.seeds=[0]"])
    monkeypatch.setenv("BATON_OVERRIDABLE", "tracking")
    overrides.check(bad[:1])
    with pytest.raises(ParamsError, match="may not be overridden"):
        overrides.check(["finetune.epochs=2"])


def test_params_cannot_choose_who_gets_the_credentials(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = project / "params.yaml"
    path.write_text(path.read_text().replace("uri: null", "uri: https://evil.example.org"))
    active = params.read().tracking
    assert isinstance(active, params.MlflowTracking)
    for pinned in ("https://mlflow.example.org", "http://evil.example.org", "https://evil.example.org:5000"):
        monkeypatch.setenv("BATON_TRACKING_SERVER", pinned)
        with pytest.raises(TrackingError, match="is not the server that BATON_TRACKING_SERVER names"):
            store.open_store(active)
    monkeypatch.delenv("BATON_TRACKING_SERVER")
    monkeypatch.setenv("CI", "true")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", SECRET)
    with pytest.raises(ParamsError, match="the server's address in BATON_TRACKING_SERVER"):
        prerequisites.require(enabled=True, push=True, branch=None)


def test_no_champion_without_a_commit(project: Path) -> None:
    with pytest.raises(ParamsError, match="--mode enabled needs a push"):
        prerequisites.require(enabled=True, push=False, branch=None)


def test_the_base_commits_rules_judge(project: Path) -> None:
    path = project / "params.yaml"
    committed = params.read().promotion
    assert rules.of_commit("HEAD", committed, enabled=True) == (committed, "")
    text = path.read_text()
    path.write_text(text.replace("first_minimum: 0.5", "first_minimum: 0.0"))
    assert params.read().promotion != committed
    found, note = rules.of_commit("HEAD", params.read().promotion, enabled=True)
    assert found == committed and "changes `promotion` (first_minimum)" in note
    path.write_text(text.replace("looks: 20", "glances: 20"))
    git("commit", "--all", "--quiet", "--message", "older rules")
    with pytest.raises(ParamsError, match="cannot be read by this code") as told:
        rules.of_commit("HEAD", committed, enabled=True)
    assert "glances, looks" in str(told.value)
    found, note = rules.of_commit("HEAD", committed, enabled=False)
    assert found == committed and "judged by its own rules" in note


def git(*words: str) -> None:
    who = ("-c", "user.name=t", "-c", "user.email=t@example.org")
    subprocess.run(["git", *who, *words], check=True)


def test_a_jobs_own_edits_do_not_stay(project: Path) -> None:
    path, record = project / "params.yaml", project / "promotions.jsonl"
    before = path.read_bytes()
    with pytest.raises(RuntimeError), lent_files.lent():
        lent_files.write(overrides.applied(["finetune.epochs=7"]))
        record.write_text("{}\n")
        raise RuntimeError
    assert path.read_bytes() == before and not record.exists()
    with lent_files.lent():
        lent_files.write(overrides.applied(["finetune.epochs=7"]))
        committed = path.read_bytes()
        git("commit", "--all", "--quiet", "--message", "with its champion")
    assert path.read_bytes() == committed != before


def test_a_second_job_in_the_same_checkout_is_refused(project: Path) -> None:
    path = project / "params.yaml"
    with lent_files.lent():
        lent_files.write(overrides.applied(["finetune.epochs=7"]))
        during = path.read_bytes()
        with pytest.raises(OutputError, match="another retraining works in this checkout"), lent_files.lent():
            pass
        assert path.read_bytes() == during


def test_broken_state_of_a_killed_job_stops_nothing(project: Path) -> None:
    path = project / "params.yaml"
    before = path.read_bytes()
    for content in ("", "[]", "{}"):
        with lent_files.lent():
            kept = lent_files._kept()
        kept.write_text(content)
        with lent_files.lent():
            assert path.read_bytes() == before


def test_a_base_commit_that_git_lacks_judges_nothing(project: Path) -> None:
    own = params.read().promotion
    with pytest.raises(ParamsError, match="is not in this clone"):
        rules.of_commit("f" * 40, own, enabled=True)
    found, note = rules.of_commit("f" * 40, own, enabled=False)
    assert found == own and "is not in this clone" in note


KILLED = """
import os
from baton.lifecycle.retraining import lent_files, overrides
with lent_files.lent():
    lent_files.write(overrides.applied(["finetune.epochs=7"]))
    os._exit(9)
"""


def test_nor_after_sigkill(project: Path, root: Path) -> None:
    import os
    import sys

    path = project / "params.yaml"
    before = path.read_bytes()
    environment = {**os.environ, "PYTHONPATH": str(root / "src")}
    for edited in (False, True):
        ended = subprocess.run([sys.executable, "-c", KILLED], env=environment, check=False)
        assert ended.returncode == 9 and path.read_bytes() != before
        if edited:
            path.write_text(path.read_text().replace("looks: 20", "looks: 21"))
        with lent_files.lent():
            now = path.read_bytes()
            assert (now == before) is not edited
            assert (b"looks: 21" in now) is edited, "what the user wrote since then is kept"
