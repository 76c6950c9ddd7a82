"""What ran in the private copy is an experiment that DVC itself shows, applies and removes."""

import json
from pathlib import Path

from baton.workspace import dvc_graph, experiments, private_copy
from tests.workspace.conftest import dvc, git

COPY, NEEDED = Path(".baton/compare/copy"), ("src/code.sh", "inbox")


def record(name: str, rate: int) -> str:
    root = private_copy.prepare(COPY, NEEDED)
    (root / "params.yaml").write_text(f"# how\nmade: {{rate: {rate}}}\n")
    dvc("repro", folder=root)
    return experiments.record(root, name, ["metrics.json"], "baton compare")


def test_dvc_shows_applies_and_removes_them(project: Path) -> None:
    Path("inbox/private").write_text("new, unknown to git\n")
    found = {"one-8-seed0-1a": record("one-8-seed0-1a", 3), "two": record("two", 4)}
    assert experiments.known() == found
    assert git("status", "--porcelain").split() == ["??", "inbox/private"]
    shown = json.loads(dvc("exp", "show", "--json"))
    rates = {
        item["revs"][0]["name"]: item["revs"][0]["data"]["params"]["params.yaml"]["data"]["made"]["rate"]
        for item in shown[1]["experiments"]
    }
    assert rates == {"one-8-seed0-1a": 3, "two": 4}
    listed = set(git("ls-tree", "-r", "--name-only", found["two"]).split())
    assert {"dvc.lock", "metrics.json", "params.yaml"} <= listed
    assert "inbox/private" not in listed and not any(name.startswith(".dvc/tmp") for name in listed)
    dvc("exp", "apply", "two")
    assert Path("params.yaml").read_text() == "# how\nmade: {rate: 4}\n"
    assert Path("out").read_text().endswith("made: {rate: 4}\n")
    dvc("exp", "remove", "two")
    assert list(experiments.known()) == ["one-8-seed0-1a"]


def test_the_same_name_replaces_it_and_its_outputs_are_found_in_the_cache(project: Path) -> None:
    first, second = record("one", 3), record("one", 5)
    assert first != second and experiments.known() == {"one": second}
    graph = dvc_graph.of_commit(second)
    assert graph is not None and graph.params("made") == {"made.rate": 5}
    Path("src/folder").mkdir()
    assert dvc_graph.files_of("0" * 32 + ".dir") == {}
