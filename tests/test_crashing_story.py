"""The story of test_retrain.py, in which jobs die at every boundary to files, processes and the network.

`boundaries` finds the points by itself. A job dies at the first one where none has died yet, and the next job
gets further, so each job of the story is repeated until it comes to its end; a point of the machine's own
checkout is left to the next job in that checkout, any other to one in a fresh clone, as in CI. Whatever
happened before: one version, one champion, one commit.

    make crashes                       every point: about five hours
    BATON_DIED=FILE make crashes       go on after an interruption: FILE keeps the points that are done
"""

import json
import os
import random
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests import boundaries
from tests.test_pipeline import ROOT, Project
from tests.test_retrain import World, rates, server, small  # noqa: F401  the fixture

weak, strong = rates(1e-7, 1e-7), rates(3e-3, 3e-3, epochs=12)
SAMPLED = 48  # one of so many points in the slow tests: some 16 of 800
MOST = 500  # jobs that may die in a row


def stored(minutes: float | None, seconds: float) -> Callable[[dict[str, Any]], None]:
    """Store checkpoints on the remote, and here, that often."""

    def change(raw: dict[str, Any]) -> None:
        raw["retrain"]["checkpoint_minutes"] = minutes
        raw["runtime"]["checkpoint_seconds"] = seconds

    return change


def tell(text: str) -> None:
    """Show the progress (with `pytest -s`, or if the test fails)."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


class Story:
    """A world whose jobs die, and what must be there after each."""

    def __init__(self, world: World, died: Path, every: int, seed: int) -> None:
        self.world, self.died, self.every, self.seed = world, died, every, seed
        self.project: Project | None = None

    def job(self, name: str, *words: str, code: int = 0) -> str:
        """Run a command until it does not die; return its output."""
        own = boundaries.Settings(str(self.world.folder), name, str(self.died), self.every, self.seed)
        program = (sys.executable, str(ROOT / "tests/boundaries.py"), json.dumps(vars(own)))
        for _ in range(MOST):
            self.project = self.project or self.world.clone()
            began = time.monotonic()
            ended = self.project.run(*program, *words)
            if ended.returncode != boundaries.DIED:
                said = ended.stdout[-3000:] + ended.stderr[-3000:]
                assert ended.returncode == code, f"{name}, after a death at {self.last()}:\n{said}"
                return ended.stdout
            last = self.last()
            tell(f"{name}, {time.monotonic() - began:.0f} s, {last['next']}: {last['point']}")
            if last["next"] == boundaries.FRESH:
                self.leave()
        raise AssertionError(f"{name} does not come to its end")

    def retrain(self, name: str, code: int = 0) -> str:
        return self.job(name, "retrain", "--mode", "enabled", code=code)

    def leave(self) -> None:
        """Delete the machine's checkout."""
        if self.project:
            shutil.rmtree(self.project.folder)
        self.project = None

    def last(self) -> dict[str, str]:
        lines = self.died.read_text().splitlines() if self.died.is_file() else []
        return dict(json.loads(lines[-1])) if lines else {}

    def publish(self, message: str, *changes: Callable[[dict[str, Any]], None]) -> None:
        self.world.git("pull", "--quiet")
        for change in changes:
            self.world.developer.edit(change)
        self.world.push(message)

    def holds(self, aliases: dict[str, str], versions: int, commits: list[str], record: list[Any]) -> None:
        """Check the registry, the commits on origin/main since the start, and the record of promotions."""
        assert self.world.registry() == aliases | {"versions": str(versions)}
        self.world.git("pull", "--quiet")
        assert self.world.git("log", "--format=%s").splitlines()[::-1][2:] == commits
        path = self.world.developer.folder / "promotions.jsonl"
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        assert [(line["by"], line["version"], line["previous"]) for line in lines] == record
        self.complete()
        self.leave()

    def complete(self) -> None:
        """Check that the champion and each version are whole, and that no dead job excludes others."""
        from mlflow import MlflowClient

        from baton.lifecycle.promotion import promotion_lock

        client = MlflowClient(self.world.server.uri, registry_uri=self.world.server.uri)
        champion = client.get_model_version_by_alias("story", "champion")
        assert champion.tags["gate.verdict"] == "promoted" and "gate.rolled_back" not in champion.tags
        found = client.search_model_versions("name = 'story'")
        assert len({version.tags["baton.sha256"] for version in found}) == len(found)
        for version in found:
            assert client.get_run(version.run_id).info.status == "FINISHED"
            assert {"gate.verdict", "gate.json", "baton.files_sha256"} <= version.tags.keys()
        left = promotion_lock.claims(client, "story").values()
        assert all(promotion_lock._holder(claim).ended() for claim in left)


def six_jobs(story: Story) -> None:
    """Run the story."""
    world = story.world
    story.publish("first", weak, stored(0.005, 0.2))
    story.retrain("first champion")
    commits, record = ["first", "Retrain: version 1 passed"], [("gate", "1", None)]
    story.holds({"champion": "1"}, 1, commits, record)

    world.write("train", [*world.read("train"), *world.rest])
    story.publish("new data", strong, stored(10, 120))  # these have been seen
    assert "met, gain" in story.retrain("new data")
    commits += ["new data", "Retrain: version 2 passed"]
    record.append(("gate", "2", "1"))
    story.holds({"champion": "2"}, 2, commits, record)

    assert "Not trained: 0 rows are new" in story.retrain("again")
    story.holds({"champion": "2"}, 2, commits, record)

    story.publish("worse", weak)
    assert "NOT met, gain" in story.retrain("worse", code=3)
    commits += ["worse", "Retrain: version 3 refused"]
    story.holds({"champion": "2", "challenger": "3"}, 3, commits, record)

    story.publish("a tie", strong, lambda raw: raw["distill"].update(alpha=0.301))
    assert "is not distinguishable from the champion" in story.retrain("tie", code=3)
    commits += ["a tie", "Retrain: version 4 refused"]
    story.holds({"champion": "2", "challenger": "4"}, 4, commits, record)

    story.job("back", "promote", "--to", "1")
    assert story.project
    world.git("add", "promotions.jsonl", folder=story.project.folder)
    world.git("commit", "--quiet", "--message", "back", folder=story.project.folder)
    world.git("push", "--quiet", folder=story.project.folder)
    record.append(("hand", "1", "2"))
    story.holds({"champion": "1", "challenger": "4"}, 4, [*commits, "back"], record)


@pytest.mark.slow
@pytest.mark.usefixtures("quiet_mlflow")
def test_some_of_the_points(tmp_path: Path, server: Any) -> None:  # noqa: F811
    seed = random.SystemRandom().randrange(1000)
    seed = int(os.environ.get("BATON_SEED", seed))
    tell(f"BATON_SEED={seed}")
    story = Story(World(tmp_path, server, small), tmp_path / "died.jsonl", SAMPLED, seed)
    six_jobs(story)
    assert story.last(), "no job died"


@pytest.mark.crashes
@pytest.mark.usefixtures("quiet_mlflow")
def test_every_point(tmp_path: Path, server: Any) -> None:  # noqa: F811
    died = Path(os.environ.get("BATON_DIED", tmp_path / "died.jsonl")).resolve()
    six_jobs(Story(World(tmp_path, server, small), died, 1, 0))
    jobs = {json.loads(line)["job"] for line in died.read_text().splitlines()}
    assert jobs == {"first champion", "new data", "again", "worse", "tie", "back"}
