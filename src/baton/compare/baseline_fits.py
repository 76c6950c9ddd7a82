"""The baselines of params, fitted on the train rows of each draw and scored on its test rows.

Input: the clean tables of a draw, `evaluate.baselines` -> fits, kept in the project's
`.baton/compare/baselines/`. Only those that read texts are fitted here; constant ones have no use in a
comparison.
"""

import hashlib
import json
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from baton import console, params, storage
from baton.compare.running import STATE
from baton.contracts import row_attributes, task_spec
from baton.errors import DataError
from baton.evaluate import baselines, inputs, task_reports
from baton.evaluate.inputs import Rows
from baton.tasks import task_figures

FORMAT = 1  # of the kept files
OTHERS = ("majority", "mean", "median", "pixels", "bands", "features")  # constants, and readers of arrays


@dataclass(frozen=True)
class Fit:
    """What a baseline came to on the rows of one draw."""

    figures: Mapping[str, float]  # on test
    seconds: float  # of the fit
    scores: NDArray[np.float64] = field(repr=False)  # (rows,) of test, as in `outcome.Outcome`


def chosen(settings: params.Evaluate, ridge: bool) -> dict[str, params.Baseline]:
    """Return the baselines of params that read texts, by name."""
    wanted = [own for own in settings.baselines if own.kind not in OTHERS]
    return dict(zip(baselines.names(wanted, ridge), wanted, strict=True))


def kept(tables: Mapping[str, str], baseline: params.Baseline) -> Fit | None:
    """Return a baseline's fit on tables of these digests, if there was one before."""
    return _kept(_place(tables, baseline))


def _kept(path: Path) -> Fit | None:
    content, scores = storage.read_state(path), storage.read_state_arrays(path.with_suffix(".npz"))
    return Fit(**content, scores=scores["scores"]) if content and scores else None


def fit(clean: Path, tables: Mapping[str, str], name: str, baseline: params.Baseline) -> Fit | None:
    """Fit a baseline on the train rows of data/clean, score it on test, and keep that.

    None if it cannot be fitted on so few rows, which is said, or if the rows are no texts.
    """
    task = task_reports.of(task_spec.read_file(clean))
    rows = {split: inputs.read_rows(clean, split) for split in ("train", "val", "test")}
    if rows["test"].shown != "text":
        return None
    try:
        start = time.perf_counter()
        outputs = _fitted(clean, task, baseline, rows)
        seconds = time.perf_counter() - start
    except DataError as error:
        console.warn(name, str(error).splitlines()[0])
        return None
    targets = rows["test"].targets
    # The figures of all rows; two resamples, since their intervals are not used.
    few = params.Bootstrap(resamples=2, confidence=0.95, seed=0)
    figures = task.of_model(task.bootstrap(targets, {name: outputs}, 1, few), name)
    found = Fit(
        {figure: float(figures[figure]) for figure in task.over_seeds if figure in figures},
        seconds,
        task.score(task.parts(targets, outputs)),
    )
    _keep(tables, baseline, found)
    return found


def _fitted(
    clean: Path, task: task_reports.TaskReports, baseline: params.Baseline, rows: Mapping[str, Rows]
) -> Any:
    """Return a baseline's outputs on test."""
    texts = {split: _texts(own) for split, own in rows.items()}
    train, val = rows["train"].targets, rows["val"].targets
    with tempfile.TemporaryDirectory() as arrays:
        row_attributes.write(clean / "train.parquet", Path(arrays))
        weights = row_attributes.weights(Path(arrays), "train", len(rows["train"].ids))
    model = task.baselines.fit(baseline, texts["train"], train, (texts["val"], val), weights)
    decided = task_figures.decides(task.spec)
    values = task.fitted(val, model.outputs(texts["val"])) if decided else {}
    return replace(model.outputs(texts["test"]), **values)


def _texts(rows: Rows) -> Sequence[Any]:
    return rows.texts if rows.pairs is None else rows.pairs


def _keep(tables: Mapping[str, str], baseline: params.Baseline, found: Fit) -> None:
    path = _place(tables, baseline)
    with storage.atomic_file(path.with_suffix(".npz")) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, scores=found.scores)
    storage.write_json(path, {key: value for key, value in asdict(found).items() if key != "scores"})


def _place(tables: Mapping[str, str], baseline: params.Baseline) -> Path:
    known = {"format": FORMAT, "tables": dict(tables), "baseline": baseline.model_dump(mode="json")}
    digest = hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()
    return storage.state(STATE) / "baselines" / f"{digest}.json"
