"""What an experiment came to: figures on test, the score of each test row, and the draw of rows.

Input: the commit of a DVC experiment, whose outputs lie in DVC's cache -> an outcome, kept in the project's
`.baton/compare/results/`, so that it outlives `dvc gc` and `dvc exp remove`.
"""

import contextlib
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from baton import storage
from baton.compare.running import STATE
from baton.contracts import task_spec
from baton.evaluate import inputs, seeds, task_reports
from baton.tasks import figure_scale, task_figures
from baton.tasks.figure_scale import Scale
from baton.workspace import commands, dvc_graph

FORMAT = 1  # of the kept files
CLEAN, SEEDS = "data/clean", "data/predictions/seeds"


@dataclass(frozen=True)
class Outcome:
    """The outcome of an experiment."""

    figure: Scale  # the task's main one
    figures: Mapping[str, Mapping[str, float]]  # model -> its figures on test
    validation: Mapping[str, Mapping[str, float]]  # model -> those of validation
    rows: Mapping[str, int]  # split -> its rows
    names: int  # classes, or other names of the task
    tables: Mapping[str, str]  # split -> digest of its clean table
    # Model -> score of each test row, whose mean is the main figure (minus it if lower is better).
    scores: Mapping[str, NDArray[np.float64]] = field(repr=False)


def kept(name: str) -> Outcome | None:
    """Return the outcome of an experiment if it was read before."""
    path = _place(name)
    content, scores = storage.read_state(path), storage.read_state_arrays(path.with_suffix(".npz"))
    if content.pop("format", None) != FORMAT or not scores:
        return None
    return Outcome(**content | {"figure": Scale(**content["figure"]), "scores": scores})


def keep(name: str, outcome: Outcome) -> None:
    """Keep the outcome of an experiment."""
    path = _place(name)
    with storage.atomic_file(path.with_suffix(".npz")) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **outcome.scores)
    content = {key: value for key, value in asdict(outcome).items() if key != "scores"}
    storage.write_json(path, content | {"format": FORMAT})


def of_commit(commit: str, stages: Sequence[str]) -> Outcome | None:
    """Return the outcome of an experiment, or None if DVC's cache does not hold its outputs any more.

    `stages` are those that train.

    Raises:
        DataError: its files do not belong together.
    """
    with opened(commit, stages) as folder:
        return None if folder is None else _read(folder, commit, stages)


@contextlib.contextmanager
def opened(commit: str, stages: Sequence[str] = ()) -> Iterator[Path | None]:
    """Yield a folder with links to an experiment's clean tables and its stages' predictions on test.

    It is None if DVC's cache lacks some of them.
    """
    graph = dvc_graph.of_commit(commit)
    known = set() if graph is None else {"preprocess", *stages} & set(graph.stages)
    outs = {path: own for stage in known if graph for path, own in graph.outs(stage).items()}
    wanted = {path: own for path, own in outs.items() if path == CLEAN or path.startswith(f"{SEEDS}/")}
    folder = Path(tempfile.mkdtemp(prefix="baton-compare-"))
    try:
        there = len(known) == 1 + len(stages) and all(
            _link(folder / path, own) for path, own in wanted.items()
        )
        yield folder if there else None
    finally:
        shutil.rmtree(folder)


def _link(target: Path, digest: str) -> bool:
    """Link a cached folder's files; return whether all are there."""
    files = dvc_graph.files_of(digest)
    for name, place in files.items():
        if not place.is_file():
            return False
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        (target / name).symlink_to(place.resolve())
    return bool(files)


def _read(folder: Path, commit: str, stages: Sequence[str]) -> Outcome:
    spec = task_spec.read_file(folder / CLEAN)
    task = task_reports.of(spec)
    test = inputs.read_rows(folder / CLEAN, "test")
    content, trained = _metrics(folder, commit, stages)
    figures = seeds.test_figures(task, trained, folder / SEEDS, test)
    scores = {}
    for name, own in trained.items():
        path = folder / SEEDS / name
        logits = inputs.read_logits(path / f"{own.chosen}.parquet", test, spec.width)
        fitted = inputs.read_fitted(path, f"{own.chosen}.json") if task_figures.decides(spec) else {}
        scores[name] = task.score(task.parts(test.targets, task.outputs(logits, fitted)))
    return Outcome(
        figure=figure_scale.of(task.figures),
        figures={
            name: {figure: own[trained[name].chosen][figure] for figure in task.over_seeds}
            for name, own in figures.items()
        },
        validation={name: content[name] for name in trained},
        rows={split: rows_of(folder / CLEAN / f"{split}.parquet") for split in ("train", "val", "test")},
        names=len(spec.names),
        tables={
            split: storage.sha256(folder / CLEAN / f"{split}.parquet") for split in ("train", "val", "test")
        },
        scores=scores,
    )


def _metrics(
    folder: Path, commit: str, stages: Sequence[str]
) -> tuple[dict[str, Any], dict[str, seeds.Seeds]]:
    """Return the validation figures of the models, and their seeds."""
    content: dict[str, Any] = {}
    paths = [folder / f"{stage}.json" for stage in stages]
    for path in paths:
        shown = commands.run("git", "show", "--end-of-options", f"{commit}:./metrics/{path.name}")
        path.write_text(shown, encoding="utf-8")
        content |= storage.read_json(path)
    return content, seeds.read(paths)


def rows_of(table: Path) -> int:
    """Return the number of rows of a table."""
    import pyarrow.parquet as pq

    return int(pq.read_metadata(table).num_rows)


def _place(name: str) -> Path:
    return storage.state(STATE) / "results" / f"{name}.json"
