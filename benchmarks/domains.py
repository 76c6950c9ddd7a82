"""Measure what a source domain brings to a target domain with few labels, beside what LogME predicts.

Four domains of sentences, positive or negative (VADER's: tweets, films, products, editorials). For each seed
a teacher is trained on each source; then, for each target, teachers are trained on few rows of it: on the
pretrained base model alone, and on the model of each source (`base: {kind: run}`). Within a seed all of a
target's teachers get the same rows, batches and budget, and are scored on the same test rows. LogME is that
of each base model's features of the target's train rows, before any training on them. Each side is the
pipeline itself, run by DVC in a copy of the project.

    python -m benchmarks.domains [--seeds 0 1 2 3 4] [--rows 100] [--work FOLDER]
        [--sources tweets films …] [--targets tweets films …]

The output is a table of the transfer scores (accuracy with the source minus without, and the share of the
error removed, with Student's 95% intervals over seeds), and the rank correlation of LogME with the accuracy
over the base models of each target. With `--work`, a run that was killed goes on where it was: DVC has what
is finished in its cache. Each trained model takes 90 MB there.
"""

import copy
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from baton import console, params, storage
from baton.evaluate import transfer
from baton.evaluate.seeds import Mean, student
from baton.tasks import number_metrics
from benchmarks import _encoder_features, _project, _sides, _vader, few_labels

NONE = "none"  # the pretrained base model itself
CONFIDENCE = 0.95


class Measured(NamedTuple):
    """What one base model gives on a target, with one seed."""

    accuracy: float  # on test, after training
    logme: float  # of its features of train, before


Found = dict[tuple[str, str], list[Measured]]  # target, source -> by seed


def main(arguments: Sequence[str] | None = None) -> None:
    """Train on every source and target for each seed, and print the tables."""
    options = parse(arguments)
    found: Found = {}
    with tempfile.TemporaryDirectory() as name:
        project = _project.copied(options.work or Path(name) / "project")
        _vader.write(Path(name), project / "inbox")
        for seed in options.seeds:
            bases = {source: trained(project, source, seed, options) for source in options.sources}
            for target in options.targets:
                for source in (NONE, *(source for source in options.sources if source != target)):
                    raw = edited(target, seed, options.rows, options, bases.get(source))
                    found.setdefault((target, source), []).append(measured(project, raw))
                    accuracy, logme = found[target, source][-1]
                    console.say(f"seed {seed}, {target} after {source}: {accuracy:.1%}, LogME {logme:.4f}")
    report(found, options.targets)


def parse(arguments: Sequence[str] | None) -> Any:
    """Return the options."""
    parser = _sides.parser(__doc__, 1)
    domains = list(_vader.FILES)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4], help="default: 0 1 2 3 4")
    for name in ("sources", "targets"):
        parser.add_argument(f"--{name}", nargs="+", choices=domains, default=domains, help="default: all")
    parser.add_argument(
        "--rows", type=int, default=100, help="of a target's train and validation together (default 100)"
    )
    parser.add_argument(
        "--source-rows", type=int, default=1800, help="the same of a source (default 1800, as all have)"
    )
    parser.add_argument("--test-rows", type=int, default=1000, help="the most rows to score (default 1000)")
    parser.add_argument("--epochs", type=int, help="of every training run (default: the recipe's)")
    parser.add_argument(
        "--work", type=Path, help="a folder to keep the project in (default: a temporary one)"
    )
    return parser.parse_args(arguments)


def edited(
    domain: str, seed: int, rows: int, options: Any, base: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Return the params of one domain: the recipe `csv`, on the base model of a source or its own."""
    made: dict[str, Any] = copy.deepcopy(params.read_raw(_project.ROOT / "recipes/csv.yaml"))
    made["source"] |= {"files": {"train": f"inbox/{domain}.csv"}, "licence": _vader.LICENCE}
    made["base"] = base or made["base"]
    made["preprocess"] |= {
        "group_column": "document",
        "limit": {"train": rows, "test": options.test_rows},
        "seed": seed,
        "validation": {"kind": "share", "share": 0.2},
        "test": {"kind": "share", "share": 0.25},
    }
    made["preprocess"]["checks"]["small_class"] = "keep"
    made["tokenize"] |= {"max_length": 64, "truncation": {"kind": "head"}}
    made["finetune"] |= {
        "seeds": [seed],
        "strategy": {"kind": "full"},
        "epochs": options.epochs or made["finetune"]["epochs"],
    }
    if options.epochs:
        made["finetune"]["min_steps"] = 0
    made["tracking"]["experiment"] = "domains"
    return made


def trained(project: Path, source: str, seed: int, options: Any) -> dict[str, Any]:
    """Train on a source; return the base that its model is."""
    raw = edited(source, seed, options.source_rows, options)
    _project.repro(project, raw, "finetune")
    made = _project.trace(project, "models/teacher")["made_of"]["children"]
    (run,) = [stage["facts"]["run"] for stage in made if stage["name"] == "finetune"]
    console.say(f"seed {seed}: trained on {source}, run {run}")
    digest = storage.sha256_tree(project / "models/teacher")
    return {"kind": "run", "run": run, "model": "teacher", "sha256": digest, "licence": "Apache-2.0"}


def measured(project: Path, raw: dict[str, Any]) -> Measured:
    """Return the test accuracy of the teacher that these params train, and the LogME of their base model."""
    _project.repro(project, raw, "download")  # from the store of runs
    # Nothing starts from this teacher, so it need not be in the store, where each takes 90 MB.
    accuracy = few_labels.accuracy(project, raw | {"tracking": {"kind": "off"}})
    return Measured(accuracy, _encoder_features.logme(project, raw))


def report(found: Found, targets: Sequence[str]) -> None:
    """Print the transfer scores, and how well LogME ranks the base models of each target."""
    rows = []
    for (target, source), own in found.items():
        alone = found[target, NONE]
        with_source, without = ([one.accuracy for one in some] for some in (own, alone))
        logme = f"{np.mean([one.logme for one in own]):.4f}"
        shown = [target, source, f"{100 * np.mean(with_source):.1f}"]
        if source == NONE:
            rows.append([*shown, "", "", logme])
            continue
        scores = transfer.score(with_source, without, CONFIDENCE)
        removed = said(scores.removed, "%") if scores.removed else "no error to remove"
        rows.append([*shown, said(scores.gain, ""), removed, logme])
    columns = ["target", "source", "accuracy, %", "gain, points", "error removed", "LogME"]
    _sides.markdown(columns, rows)
    print()
    for target in targets:
        print(f"{target}: {verdict({source: own for (of, source), own in found.items() if of == target})}")
    mean = student(np.array(by_seed(found, targets)), CONFIDENCE)
    print(f"\nrank correlation of LogME with accuracy within a target and seed: {interval(mean, 1, 2)}")


def by_seed(found: Found, targets: Sequence[str]) -> list[float]:
    """Return the mean over targets of `agreement`, by seed."""
    of_target = [[own for (of, _), own in found.items() if of == target] for target in targets]
    seeds = range(len(of_target[0][0]))
    return [float(np.mean([agreement([own[seed] for own in some]) for some in of_target])) for seed in seeds]


def said(score: Mean, unit: str) -> str:
    """Return a share in hundredths, with its interval."""
    return interval(score, 100, 1, unit)


def interval(score: Mean, factor: float, digits: int, unit: str = "") -> str:
    """Return a mean with its interval, if it has one."""
    mean = f"{factor * score.mean:+.{digits}f}{unit}"
    if score.interval is None:
        return mean
    low, high = (f"{factor * end:+.{digits}f}" for end in score.interval)
    return f"{mean} ({low} to {high})"


def agreement(own: Sequence[Measured]) -> float:
    """Return Spearman's rank correlation of LogME and accuracy over base models; 0 if one is constant."""
    columns = np.array(own)
    return float(number_metrics.spearman(columns[:, :1], columns[:, 1:])[0])


def verdict(own: dict[str, list[Measured]]) -> str:
    """Return which base model LogME chooses, in words, by the means over seeds."""
    means = {source: Measured(*np.mean(some, axis=0)) for source, some in own.items()}
    chosen = max(means, key=lambda source: means[source].logme)
    best = max(means, key=lambda source: means[source].accuracy)
    lost = 100 * (means[best].accuracy - means[chosen].accuracy)
    lead = f"LogME chooses {chosen}, {best} is best" if lost else "LogME chooses the best"
    return f"{lead} ({lost:.1f} points lost); rank correlation {agreement([*means.values()]):+.2f}"


if __name__ == "__main__":
    console.run(main)
