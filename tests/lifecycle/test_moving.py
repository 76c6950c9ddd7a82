"""The champion's alias: two clocks, pauses at every request, a lost alias, moves without a record."""

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from baton import params
from baton.errors import ModelError, TrackingError
from baton.lifecycle.promotion import moving, promote, promotion_lock, promotion_record
from baton.lifecycle.promotion.promotion_lock import claim, claims
from baton.lifecycle.registry import Registry, number
from baton.tracking import store
from tests.tracking.test_server import Server


def registry() -> Registry:
    active = params.read()
    assert isinstance(active.tracking, params.MlflowTracking)
    return Registry(store.open_store(active.tracking), active.promotion.name)


@pytest.fixture
def own(project: Path) -> Registry:
    """Three versions in a real registry; the first is the champion."""
    made = registry()
    made.client.create_registered_model(made.name)
    run = made.store.create_run("made", {}, 0)
    made.client.log_text(run, "x", "model/MLmodel")
    for place in range(3):
        source = f"{made.client.get_run(run).info.artifact_uri}/model"
        made.client.create_model_version(made.name, source, run, tags={"baton.sha256": f"{place}" * 64})
    promote.roll_back(made, "1")
    return made


def champion(own: Registry) -> str | None:
    found = own.alias("champion")
    return number(found) if found else None


@pytest.fixture
def server(tmp_path: Path, database: Path, project: Path) -> Iterator[Server]:
    """A real MLflow server, with its own clock, as the project's store."""
    made = Server(tmp_path, database)
    made.start()
    text = (project / "params.yaml").read_text().replace("uri: null", f"uri: {made.uri}")
    (project / "params.yaml").write_text(text)
    yield made
    made.kill()


@pytest.mark.usefixtures("server")
def test_clocks_that_differ_by_eleven_minutes_do_not_let_two_in(monkeypatch: pytest.MonkeyPatch) -> None:
    own = registry()
    monkeypatch.setattr(promotion_lock, "PATIENCE_SECONDS", 0.2)
    real = time.time
    for ahead in (660.0, -660.0):
        with claim(own.client, own.name), monkeypatch.context() as later:
            later.setattr(time, "time", lambda ahead=ahead: real() + ahead)
            with pytest.raises(TrackingError, match="is moving aliases"), claim(own.client, own.name):
                pytest.fail("two are inside")
    assert not claims(own.client, own.name)


class Paused:
    """A client of the registry whose `at`-th request waits until something else has happened."""

    def __init__(self, client: Any, at: int, happens: Callable[[], None]) -> None:
        self.client, self.left, self.happens = client, at, happens

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.client, name)
        if not callable(found):
            return found

        def called(*words: Any, **named: Any) -> Any:
            self.left -= 1
            if self.left == 0:
                self.happens()
            return found(*words, **named)

        return called


def test_a_promotion_that_is_paused_at_any_request_undoes_no_other(
    own: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Version 2's promotion sleeps; version 3's takes over its claim and finishes. Only one counts."""
    at, ends = 0, set()
    while True:
        at += 1
        moved: list[str] = []

        def take_over(moved: list[str] = moved) -> None:
            with monkeypatch.context() as later:
                later.setattr(promotion_lock, "STALE_SECONDS", -1.0)
                time.sleep(0.002)  # the store's stamps are in milliseconds
                try:
                    moving.move(registry(), own.version("3"), own.version("1"))
                    moved.append("3")
                except TrackingError:
                    pass

        sleeper = registry()
        sleeper.client = Paused(sleeper.client, at, take_over)  # type: ignore[assignment]
        try:
            moving.move(sleeper, own.version("2"), own.version("1"))
            moved.append("2")
        except TrackingError:
            pass
        assert len(moved) == 1 and champion(own) == moved[0], (at, moved, champion(own))
        assert not claims(own.client, own.name)
        ends.add(moved[0])
        if sleeper.client.left > 0:
            break
        promote.roll_back(own, "1")
    assert ends == {"2", "3"} and at > 8, "both ends were seen"


def test_a_claim_whose_answer_was_lost_is_ones_own(own: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    """MLflow then sends the request again, and is told that there is one already."""
    create = own.client.create_registered_model

    def twice(*arguments: Any) -> Any:
        create(*arguments)
        return create(*arguments)

    monkeypatch.setattr(own.client, "create_registered_model", twice)
    with claim(own.client, own.name) as mine:
        assert mine.held()
    assert not claims(own.client, own.name)


def test_a_lost_alias_does_not_disarm_the_gate(own: Registry) -> None:
    settings = params.read().promotion
    own.client.delete_registered_model_alias(own.name, "champion")
    own.client.set_registered_model_alias(own.name, "challenger", "2")
    with pytest.raises(ModelError, match="has lost its alias") as told:
        promote.promote(own, settings, enabled=True)
    assert "--to 1" in str(told.value) and champion(own) is None
    promotion_record.RECORD.unlink()
    with pytest.raises(ModelError, match="version 1, by its tags"):
        promote.promote(own, settings, enabled=True)
    promote.roll_back(own, "1")
    promotion_record.check(own)


def test_a_first_promotion_that_died_before_its_alias_is_no_lost_one(own: Registry) -> None:
    own.client.delete_registered_model_alias(own.name, "champion")
    for tag in ("gate.verdict", "gate.claimed"):
        own.client.delete_model_version_tag(own.name, "1", tag)
    promotion_record.check(own)
    promotion_record.RECORD.write_text("")
    promotion_record.append(own, own.version("2"), None)
    promotion_record.check(own)


def test_a_wiped_server_is_not_a_new_project(own: Registry) -> None:
    own.client.delete_registered_model_alias(own.name, "champion")
    for version in own.versions():
        own.client.delete_model_version(own.name, number(version))
    with pytest.raises(ModelError, match=r"version 1, by promotions\.jsonl"):
        promotion_record.check(own)
    promotion_record.check(own, enabled=False)  # a rehearsal's own store, where nothing is promoted


def test_a_dry_run_does_not_work_around_a_lost_alias(own: Registry) -> None:
    own.client.delete_registered_model_alias(own.name, "champion")
    with pytest.raises(ModelError, match="has lost its alias"):
        promotion_record.check(own, enabled=False)


def test_an_alias_that_moved_without_a_record_is_refused(own: Registry) -> None:
    promotion_record.append(own, own.version("2"), "1")
    promotion_record.check(own)  # committed, and the job died before the alias
    own.client.set_registered_model_alias(own.name, "champion", "3")
    with pytest.raises(ModelError, match="moved without a commit") as told:
        promotion_record.check(own)
    assert "version 3" in str(told.value) and "--to 3" in str(told.value)
    promote.roll_back(own, "3")  # it is right: now it is recorded
    promotion_record.check(own)
    lines = [json.loads(line) for line in promotion_record.RECORD.read_text().splitlines()]
    assert [(line["version"], line["previous"], line["by"]) for line in lines] == [
        ("1", None, "hand"),
        ("2", "1", "gate"),
        ("3", None, "hand"),
    ]
    own.client.set_model_version_tag(own.name, "3", "baton.sha256", "f" * 64)
    with pytest.raises(ModelError, match="sha256 ffffffffffff"):
        promotion_record.check(own)


def test_the_record_only_grows(own: Registry, project: Path) -> None:
    import subprocess

    def commit() -> None:
        who = ["git", "-c", "user.name=t", "-c", "user.email=t@example.org"]
        subprocess.run([*who, "add", "promotions.jsonl"], check=True)
        subprocess.run([*who, "commit", "--quiet", "--message", "x"], check=True)

    commit()
    promote.roll_back(own, "2")
    commit()
    promotion_record.check(own)
    whole = promotion_record.RECORD.read_text()
    promotion_record.RECORD.write_text(whole.splitlines()[1] + "\n")
    with pytest.raises(ModelError, match="has lost 1 of its lines"):
        promotion_record.check(own)
    promotion_record.RECORD.write_text("rubbish\n" + whole)
    with pytest.raises(ModelError, match="line 1 is not a promotion"):
        promotion_record.check(own)
