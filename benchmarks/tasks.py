"""Measure what training several tasks on one encoder brings, against each task alone for as many steps.

For each seed, which draws all rows and the order of training: the tasks together (params `tasks`); each of
them alone, as the main task, for as many steps as all of them had together; and the main task alone for as
many as it had itself. The main task has few rows. A task has the same rows in each, but that the others lose
those with a text on which the main one is measured. Each run is the pipeline itself, run by DVC in a copy of
the project.

    python -m benchmarks.tasks [--sets films sections topics] [--seeds 0 1 2 3 4] [--rows N]
        [--other-rows 2000] [--steps 600] [--mixing uniform] [--work FOLDER]

`films`: the sign of sentences on films, beside tweets, products and editorials (VADER's; `_vader`).
`sections`: the section of a Debian package, beside the tags of the same packages. `topics`: Reuters R8 beside
20 Newsgroups. The output is each task's main figure on test, and the differences with Student's 95%
intervals, paired by seed. With `--work`, a run that was killed goes on where it was.
"""

import copy
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from baton import console, params, storage
from baton.contracts import predictions, task_spec
from baton.evaluate import inputs, seeds, task_reports
from baton.tasks import figure_scale, task_figures
from baton.tasks.figure_scale import Scale
from benchmarks import _project, _sides, _vader

MAIN, CONFIDENCE = "main", 0.95
ROWS = {"films": 100, "sections": 300, "topics": 100}  # of the main task; sections has 58 classes
RECIPES = {"films": "csv", "sections": "debian-sections", "topics": "reuters-r8-minilm"}
OTHERS = {"sections": {"tags": "debian-tags"}, "topics": {"newsgroups": "20newsgroups-minilm"}}
MIXINGS = ("uniform", "proportional", "temperature")
OWN = ("source", "task", "preprocess")  # sections of a task
# Sides, by what they are called in the table.
TOGETHER, ALONE, SHORT = "together", "alone, all steps", "alone, own steps"

Found = dict[tuple[str, str], list[float]]  # task, side -> its main figure on test, by seed


class Trained(NamedTuple):
    """The main figure of each task on test and how it is written, and the steps that each task had."""

    figures: dict[str, float]
    scales: dict[str, Scale]
    steps: dict[str, int]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run every side of every set for each seed, and print a table for each set."""
    options = parse(arguments)
    with tempfile.TemporaryDirectory() as name:
        project = _project.copied(options.work or Path(name) / "project")
        if "films" in options.sets:
            _vader.write(Path(name), project / "inbox")
        for chosen in options.sets:
            found: Found = {}
            for seed in options.seeds:
                scales = measure(project, together(chosen, seed, options), seed, found)
            report(chosen, found, scales)


def parse(arguments: Sequence[str] | None) -> Any:
    """Return the options."""
    parser = _sides.parser(__doc__, 1)
    parser.add_argument("--sets", nargs="+", choices=RECIPES, default=list(RECIPES), help="default: all")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4], help="default: 0 1 2 3 4")
    rows = "of train and validation together"
    parser.add_argument("--rows", type=int, help=f"of the main task, {rows} (default 100, sections 300)")
    parser.add_argument("--other-rows", type=int, default=2000, help=f"of the others, {rows} (default 2000)")
    parser.add_argument("--test-rows", type=int, default=1000, help="the most rows to score (default 1000)")
    parser.add_argument("--steps", type=int, default=600, help="of all tasks together (default 600)")
    parser.add_argument("--mixing", choices=MIXINGS, default="uniform", help="default: uniform")
    parser.add_argument("--temperature", type=float, default=2.0, help="of that mixing (default 2)")
    parser.add_argument("--weight", type=float, default=1.0, help="of the others' losses (default 1)")
    parser.add_argument(
        "--work", type=Path, help="a folder to keep the project in (default: a temporary one)"
    )
    return parser.parse_args(arguments)


def together(chosen: str, seed: int, options: Any) -> dict[str, Any]:
    """Return the params of a set's tasks together."""
    made: dict[str, Any] = copy.deepcopy(params.read_raw(_project.ROOT / f"recipes/{RECIPES[chosen]}.yaml"))
    if chosen == "films":
        own = {name: in_domain(made, name) for name in _vader.FILES}
        made |= own.pop("films")
    else:
        own = {name: of_recipe(recipe) for name, recipe in OTHERS[chosen].items()}
    if chosen == "sections":
        own["tags"]["source"] = None  # the same packages
    head = {"kind": "linear", "pooling": "mean", "dropout": 0.0}
    made["tasks"] = {name: {**task, "head": head, "weight": options.weight} for name, task in own.items()}
    for task, rows in [
        (made, options.rows or ROWS[chosen]),
        *((task, options.other_rows) for task in made["tasks"].values()),
    ]:
        small(task["preprocess"], seed, rows, options.test_rows)
    mixing: dict[str, Any] = {"kind": options.mixing}
    if options.mixing == "temperature":
        mixing["temperature"] = options.temperature
    made["finetune"] |= {"strategy": {"kind": "full"}, "head": head, "mixing": mixing, "seeds": [seed]}
    made["finetune"] |= {"epochs": 1, "min_steps": options.steps, "evaluations_per_epoch": 1}
    made["tokenize"] |= {"max_length": 64 if chosen == "films" else 128, "truncation": {"kind": "head"}}
    made["tracking"] = {"kind": "off"}
    return made


def in_domain(recipe: dict[str, Any], domain: str) -> dict[str, Any]:
    """Return the sections of one of VADER's domains."""
    made = copy.deepcopy({name: recipe[name] for name in OWN})
    made["source"] |= {"files": {"train": f"inbox/{domain}.csv"}, "licence": _vader.LICENCE}
    made["preprocess"] |= {"group_column": "document", "test": {"kind": "share", "share": 0.25}}
    return made


def of_recipe(name: str) -> dict[str, Any]:
    """Return the sections of a recipe's task."""
    raw = params.read_raw(_project.ROOT / f"recipes/{name}.yaml")
    return copy.deepcopy({name: raw[name] for name in OWN})


def small(preprocess: dict[str, Any], seed: int, rows: int, test_rows: int) -> None:
    """Take few rows, drawn by the seed."""
    preprocess |= {
        "limit": {"train": rows, "test": test_rows},
        "seed": seed,
        "validation": {"kind": "share", "share": 0.2},
    }
    if preprocess["checks"]["small_class"] == "fail":
        preprocess["checks"]["small_class"] = "keep"


def alone(raw: dict[str, Any], task: str, steps: int) -> dict[str, Any]:
    """Return the params of one task alone, for at least so many steps, up to the end of an epoch."""
    made = copy.deepcopy(raw)
    own = made["tasks"].get(task)
    made["tasks"], made["finetune"]["mixing"] = {}, None
    made["finetune"]["min_steps"] = steps
    if own:
        made |= {name: own[name] or raw["source"] for name in OWN}
        made["finetune"]["head"] = own["head"]
        made["finetune"] |= {"class_weights": "none", "label_smoothing": 0.0}
    metrics = params.task_of_kind(made["task"]["kind"])
    made["finetune"]["metric"] = made["distill"]["metric"] = metrics.metrics[1]
    made["promotion"]["metric"] = metrics.gated[0]
    if own:
        made["evaluate"] |= {"baselines": [], "gallery": None}
    return made


def measure(project: Path, raw: dict[str, Any], seed: int, found: Found) -> dict[str, Scale]:
    """Add the figures of every side for one seed; return how those of each task are written."""
    several = trained(project, raw)
    record(found, seed, TOGETHER, several.figures)
    total = sum(several.steps.values())
    for task in several.figures:
        record(found, seed, ALONE, {task: trained(project, alone(raw, task, total)).figures[MAIN]})
    short = trained(project, alone(raw, MAIN, several.steps[MAIN]))
    record(found, seed, SHORT, short.figures)
    return several.scales


def record(found: Found, seed: int, side: str, figures: dict[str, float]) -> None:
    """Keep and show the figures of one side."""
    for task, figure in figures.items():
        found.setdefault((task, side), []).append(figure)
        console.say(f"seed {seed}, {task}, {side}: {figure:.4f}")


def trained(project: Path, raw: dict[str, Any]) -> Trained:
    """Train with these params, and measure each task on test."""
    _project.repro(project, raw, "finetune")
    own = storage.read_json(project / "metrics/finetune.json")["teacher"]
    tasks = [MAIN, *raw["tasks"]]
    steps = {task: int(own.get(f"tasks/{task}/steps", own["steps"])) for task in tasks}
    specs = {task: task_spec.read_file(folder(project / "data/clean", task)) for task in tasks}
    scales = {task: figure_scale.of(task_figures.of(spec)) for task, spec in specs.items()}
    return Trained({task: figure(project, task) for task in tasks}, scales, steps)


def figure(project: Path, task: str) -> float:
    """Return a task's main figure on its test rows."""
    clean = folder(project / "data/clean", task)
    answers = folder(project / "data/predictions/teacher", task)
    reports, test = task_reports.of(task_spec.read_file(clean)), inputs.read_rows(clean, "test")
    logits = inputs.read_logits(answers / "test.parquet", test, reports.spec.width)
    fitted: dict[str, Any] = {}
    if task_figures.decides(reports.spec):
        where = (project / "models/teacher", "baton.json") if task == MAIN else (answers, predictions.FITTED)
        fitted = inputs.read_fitted(*where)
    return float(reports.of_seed(logits, test.targets, fitted)[reports.figures.main])


def folder(data: Path, task: str) -> Path:
    """Return a task's place in a folder of data."""
    return data if task == MAIN else storage.of_task(data, task)


def report(chosen: str, found: Found, scales: dict[str, Scale]) -> None:
    """Print the table of a set."""
    rows = []
    for task, scale in scales.items():
        mixed = np.array(found[task, TOGETHER])
        rows.append([task, scale.name, TOGETHER, scale.value(float(mixed.mean())), ""])
        for side in (ALONE, SHORT):
            if (task, side) in found:
                single = np.array(found[task, side])
                gain = seeds.student(mixed - single, CONFIDENCE, min(1.0, float(np.abs(single).max())))
                rows.append([task, scale.name, side, scale.value(float(single.mean())), said(gain, scale)])
    print()
    columns = [f"{chosen}: task", "figure", "side", "mean over seeds", f"{TOGETHER} minus this"]
    _sides.markdown(columns, rows)


def said(gain: seeds.Mean, scale: Scale) -> str:
    """Return a difference with its interval, in points if the figure is a share."""
    mean = f"{scale.number(gain.mean, 1, '+')}{scale.points}"
    if gain.interval is None:
        return mean
    low, high = (scale.number(end, 1, "+") for end in gain.interval)
    return f"{mean} ({low} to {high})"


if __name__ == "__main__":
    console.run(main)
