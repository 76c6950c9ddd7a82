"""The rows that a model has seen by its base models, which the gate must find."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from baton import params, storage
from baton.errors import DataError
from baton.lifecycle import test_table, training_rows
from baton.workspace import dvc_graph
from tests import tiny
from tests.lifecycle.chain import CACHE, WHEEL, Base, Chain, on_run, opened
from tests.tracking import conftest as store_conftest

_quiet, project = store_conftest._quiet, store_conftest.project
CLEAN = Path("data/clean")


@pytest.fixture(autouse=True)
def _own_store_only() -> Iterator[None]:
    yield
    import mlflow

    mlflow.set_tracking_uri(None)
    mlflow.set_registry_uri(None)


@pytest.fixture
def chain(project: Path, monkeypatch: pytest.MonkeyPatch) -> Chain:
    monkeypatch.setattr(dvc_graph, "cache", lambda: CACHE)
    return opened()


def write_rows(name: str) -> set[str]:
    """Write data/clean whose texts are unique to `name`; return the digests of its training rows."""
    rows = {split: [(f"{name} {split} {n}", 0) for n in range(3)] for split in ("train", "val", "test")}
    tiny.write_splits(CLEAN, rows, ["a"])
    return set(test_table.training_digests(CLEAN))


def of(chain: Chain, base: Base, student: Base | None = None) -> set[str]:
    """Return the rows of the checkout with these bases in params."""
    raw: dict[str, Any] = params.read_raw()
    raw |= {"base": base, "student_base": student}
    YAML(typ="safe", pure=True).dump(raw, params.PATH)
    return set(training_rows.of_checkout(chain.store, params.read()))


def test_the_rows_of_all_ancestors_are_among_them(chain: Chain) -> None:
    """Those of test never are."""
    first_rows = write_rows("first")
    first = chain.train("first", WHEEL)
    second_rows = write_rows("second")
    second = chain.train("second", on_run(first, "first"))
    own = write_rows("third")
    assert len({*first_rows, *second_rows, *own}) == 18
    assert of(chain, on_run(second, "second")) == own | second_rows | first_rows
    assert of(chain, on_run(first, "first")) == own | first_rows


def test_the_rows_of_its_other_tasks_are_among_them(chain: Chain) -> None:
    """They have files of the same names in folders of their own."""
    first_rows = write_rows("first")
    others = [(f"other {number}", 0) for number in range(3)]
    tiny.write_splits(storage.of_task(CLEAN, "other"), {"train": others, "val": others[:1]}, ["a"])
    every = set(test_table.training_digests(CLEAN))
    assert len(every - first_rows) == 3
    first = chain.train("first", WHEEL)
    shutil.rmtree(CLEAN)
    own = write_rows("own")
    assert of(chain, on_run(first, "first")) == own | every


def test_other_base_models_have_none(chain: Chain) -> None:
    own = write_rows("own")
    assert of(chain, params.read_raw()["base"]) == own


def test_the_base_of_the_student_counts(chain: Chain) -> None:
    first_rows = write_rows("first")
    chain.train("first", WHEEL)
    own, plain = write_rows("own"), params.read_raw()
    raw = plain["distill"] | {"student": {"kind": "base", "layers": None}}
    YAML(typ="safe", pure=True).dump(plain | {"distill": raw}, params.PATH)
    student = on_run(chain.run_of["first student"], "first", "student")
    assert of(chain, plain["base"], student) == own | first_rows


def test_rows_that_are_unknown_are_an_error(chain: Chain) -> None:
    """Not a gate that finds no test row among them."""
    write_rows("first")
    first = chain.train("first", WHEEL)
    base = on_run(first, "first")
    (train,) = [
        path
        for digest in [_clean_of(chain)]
        for name, path in dvc_graph.files_of(digest).items()
        if name == "train.parquet"
    ]
    train.unlink()
    with pytest.raises(DataError, match=rf"runs:/{first}, teacher is unknown[\s\S]*not in DVC's cache here"):
        of(chain, base)
    with pytest.raises(DataError, match=r"is unknown[\s\S]*is not in this store"):
        of(chain, on_run("0" * 32, "none"))


def test_a_model_folder_in_the_inbox_counts_if_the_store_knows_it(
    chain: Chain, capsys: pytest.CaptureFixture[str]
) -> None:
    """One that was trained elsewhere is named."""
    first_rows = write_rows("first")
    chain.train("first", WHEEL)
    own = write_rows("own")
    storage.write_json(Path("inbox/model/baton.json"), {})
    local = {"kind": "local", "folder": "inbox/model", "licence": "none"}
    assert of(chain, local) == own
    assert "the training data of the base model inbox/model is unknown" in capsys.readouterr().out
    chain.log("first", "teacher", storage.sha256_tree(Path("inbox/model")))
    assert of(chain, local) == own | first_rows
    assert capsys.readouterr().out == ""


def _clean_of(chain: Chain) -> str:
    graph = dvc_graph.of_workspace()
    assert graph is not None
    return graph.outs("preprocess")["data/clean"]
