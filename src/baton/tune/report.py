"""What a study came to: a table in the terminal, a CSV of all trials, and pictures.

Input: a study -> files in reports/tune: trials.csv, history.png, importance.png, parallel_coordinates.png.
"""

import csv
import os
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from baton import console, storage
from baton.tune import space
from baton.tune.study import CURVE, ERROR, EXPERIMENT, SECONDS, SEED, Study

OUTPUT = Path("reports/tune")
STATES = {
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "stopped",
    TrialState.FAIL: "failed",
    TrialState.RUNNING: "running",
    TrialState.WAITING: "waiting",
}
SHOWN = 10  # trials in the terminal, the best first


def show(study: Study) -> None:
    """Print the best trials, with the means of those that were repeated."""
    values, means = study.values, _means(study)
    order = sorted(values, key=lambda number: (-study.scale.gain(means.get(number, values[number])), number))
    order.sort(key=lambda number: number not in means)  # stable: those that were repeated come first
    keys = list(study.space)
    rows = [
        [
            f"{number}{' (the recipe)' if number == 0 else ''}",
            *(space.shown(study.trials[number].params[key]) for key in keys),
            study.scale.value(values[number], 2),
            study.scale.value(means[number], 2) if number in means else "",
        ]
        for number in order[:SHOWN]
    ]
    metric = study.scale.name
    title = f"{len(study.trials)} trials: {_counts(study)}; {metric} on validation"
    seeds = f"mean of seeds {', '.join(map(str, study.asked.seeds))}"
    console.table(title, ["trial", *keys, metric, seeds], rows)


def write(study: Study, folder: Path = OUTPUT) -> list[Path]:
    """Write the files; return them. What needs more trials than there are is left out."""
    folder.mkdir(parents=True, exist_ok=True)
    _csv(study, folder / "trials.csv")
    return [folder / "trials.csv", *_pictures(study, folder)]


def _means(study: Study) -> dict[int, float]:
    return {number: sum(own) / len(own) for number, own in study.repeated().items() if own}


def _counts(study: Study) -> str:
    found = {state: sum(own.state is state for own in study.trials) for state in STATES}
    return ", ".join(f"{count} {STATES[state]}" for state, count in found.items() if count)


def _csv(study: Study, path: Path) -> None:
    keys = list(study.space)
    header = [
        "trial",
        "seed",
        "state",
        *keys,
        study.scale.name,
        "validations",
        "seconds",
        "experiment",
        "error",
    ]
    rows = [_row(own, own.number, "", keys) for own in study.trials]
    rows += [_row(own, own.user_attrs["trial"], own.user_attrs[SEED], keys) for own in study.repeats]
    with storage.atomic_file(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def _row(own: FrozenTrial, number: int, seed: Any, keys: list[str]) -> list[Any]:
    notes: Mapping[str, Any] = own.user_attrs
    value = own.value if own.state is TrialState.COMPLETE else ""
    return [
        number,
        seed,
        STATES[own.state],
        *(own.params[key] for key in keys),
        value,
        len(notes.get(CURVE) or ()),
        notes.get(SECONDS, ""),
        notes.get(EXPERIMENT) or "",
        " ".join((notes.get(ERROR) or "").split()),
    ]


def _pictures(study: Study, folder: Path) -> list[Path]:
    """Draw what can be drawn: each needs two complete trials, importance two different figures too."""
    os.environ.setdefault("MPLBACKEND", "agg")
    if len(study.values) < 2:
        return []
    from optuna.visualization import matplotlib as drawing

    own, name = study.trials_kept, study.scale.name
    makers: dict[str, Callable[[], Any]] = {
        "history": lambda: drawing.plot_optimization_history(own, target_name=name),
        "parallel_coordinates": lambda: drawing.plot_parallel_coordinate(own, target_name=name),
    }
    if len(set(study.values.values())) > 1:
        makers["importance"] = lambda: drawing.plot_param_importances(own, target_name=name)
    found = []
    for file, make in sorted(makers.items()):
        path = folder / f"{file}.png"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            warnings.filterwarnings("ignore", r"Glyph .* missing from font|.*tight_layout")
            figure = make().figure
            with storage.atomic_file(path) as temporary:
                figure.savefig(
                    temporary, format="png", dpi=120, bbox_inches="tight", metadata={"Software": None}
                )
            figure.clear()
        found.append(path)
    return found
