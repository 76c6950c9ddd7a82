"""The comparison of ways to transfer: its sets and files of strategies are valid together."""

import itertools
from pathlib import Path

import pytest

from baton.compare import plan, strategies
from benchmarks import _project
from benchmarks import strategies as benchmark

FILES = ("strategies.yaml", "benchmarks/augmentation.yaml", "benchmarks/no_labels.yaml")


@pytest.mark.parametrize(
    ("name", "file"),
    [("mpnet", FILES[0]), *itertools.product(("r8", "20newsgroups", "films"), FILES)],
)
def test_every_strategy_is_for_every_set(name: str, file: str) -> None:
    chosen = strategies.read(_project.ROOT / file)
    kept, refused = plan.usable(chosen, [16], benchmark.edited(name))
    assert not refused
    assert len(kept.all) == len(chosen.all)


def test_sets_are_the_recipes_but_for_what_is_said() -> None:
    made = {name: benchmark.edited(name) for name in benchmark.RECIPES}
    limits = {name: own["preprocess"]["limit"]["test"] for name, own in made.items()}
    own = {"r8": None, "20newsgroups": 2000, "glosses": 4000, "mpnet": 2000}
    assert limits == own | dict.fromkeys(("tweets", "films", "products", "editorials"))
    assert made["products"]["source"]["files"] == {"train": "inbox/products.csv"}
    small = benchmark.edited("20newsgroups", rows=4000, max_length=128)
    assert small["preprocess"]["limit"] == {"train": 4000, "test": 2000}
    assert small["tokenize"]["max_length"] == 128


def test_labels_and_file_are_options(tmp_path: Path) -> None:
    options = benchmark.parse(["--work", str(tmp_path), "--set", "r8"])
    assert options.labels == "8,32,128,all"
    assert options.file == _project.ROOT / "strategies.yaml"
