"""Compare our training with transformers' Trainer.

Both have the same base model, documents, batch size, optimizer, schedule and epochs.

(a) the same model and settings, dropout 0.1 everywhere: ours against the Trainer with its best flags
(b) each as recommended: ours with the recipe's params, the Trainer with its defaults and its best flags
(c) the plain loop of a tutorial (padded to 512 tokens, fp32), for orientation

Every side has its own process; they take turns. Best flags are bf16, batches grouped by length, the fused
optimizer and padding to a multiple of 8; of the two attention implementations that users can choose, sdpa
(transformers' default) and eager, the faster one counts. The timed steps come from the first epoch over the
whole training set, as ordered by each side's own sampler. They are spread evenly over its batches ordered by
width: a few random ones would not represent an epoch of length-grouped batches, and a small sample of
documents would change the groups.

    python -m benchmarks.train_speed [--project FOLDER] [--steps N] [--repeats N] [--only a|b|c]
    python -m benchmarks.train_speed --accuracy [--seeds 0 1 2]    # whole runs: accuracy and overall speed
"""

import functools
import statistics
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from baton import console, params, storage
from benchmarks import _peers, _sides, _training
from benchmarks._training import Measured, Work

DROPOUT = 0.1
TUTORIAL_STEPS = 2

Sides = dict[str, Callable[[], Measured]]


def main(arguments: Sequence[str] | None = None) -> None:
    """Print rates and ratios, or accuracies."""
    parser = _sides.parser(__doc__, 5)
    parser.add_argument("--params", type=Path, help="a recipe (default: the project's params.yaml)")
    parser.add_argument("--steps", type=int, default=8, help="timed steps per repeat (default 8)")
    parser.add_argument("--only", choices=("a", "b", "c"), help="one of the comparisons")
    parser.add_argument(
        "--huge-pages", action="store_true", help="give the peers the launcher's allocator setting too"
    )
    parser.add_argument(
        "--accuracy",
        action="store_true",
        help="whole training runs on all of train, for the recipe's epochs (half an hour on R8)",
    )
    parser.add_argument(
        "--seeds", type=int, nargs="+", default=[0, 1, 2], help="for --accuracy (default: 0 1 2)"
    )
    options = parser.parse_args(arguments)
    _sides.require(options.project, "data/arrays/meta.json", "data/base/config.json")
    loaded = params.load("finetune", "runtime", path=options.params or options.project / "params.yaml")
    settings = loaded.finetune.of(options.seed)
    work = Work(options.project, settings, loaded.runtime, options.steps)
    if options.accuracy:
        compare_accuracy(replace(work, steps=None), options.seeds)
    else:
        for name, compare in (("a", identical), ("b", recommended), ("c", tutorials)):
            if options.only in {None, name}:
                compare(work, options.repeats, options.huge_pages)
    print(f"\n{_sides.machine('torch', 'transformers', 'accelerate')}; batches of {settings.batch_size}")


def identical(work: Work, repeats: int, huge_pages: bool) -> None:
    """Run comparison (a)."""
    head = work.settings.head.model_copy(update={"dropout": DROPOUT})
    work = replace(
        work,
        settings=work.settings.model_copy(
            update={"dropout": DROPOUT, "attention_dropout": DROPOUT, "head": head}
        ),
    )
    sides: Sides = {"ours": functools.partial(_training.ours, work)}
    for attention in ("sdpa", "eager"):
        peer = _peers.Peer(attention, best_flags=True, same_model=True)
        sides[f"Trainer, best flags, {attention}"] = functools.partial(_peers.trainer, work, peer)
    report("(a) the same model and settings, dropout 0.1", work, repeats, sides, huge_pages)


def recommended(work: Work, repeats: int, huge_pages: bool) -> None:
    """Run comparison (b)."""
    sides: Sides = {"ours": functools.partial(_training.ours, work)}
    for name, attention, best_flags in (
        ("defaults", "sdpa", False),
        ("best flags, sdpa", "sdpa", True),
        ("best flags, eager", "eager", True),
    ):
        peer = _peers.Peer(attention, best_flags, same_model=False)
        sides[f"Trainer, {name}"] = functools.partial(_peers.trainer, work, peer)
    report("(b) each as recommended", work, repeats, sides, huge_pages)


def tutorials(work: Work, repeats: int, huge_pages: bool) -> None:
    """Run comparison (c)."""
    few = replace(work, steps=TUTORIAL_STEPS)
    sides: Sides = {
        "ours": functools.partial(_training.ours, work),
        "tutorial": functools.partial(_peers.tutorial, few),
    }
    report("(c) the loop of a tutorial, for orientation", work, repeats, sides, huge_pages)


def report(title: str, work: Work, repeats: int, sides: Sides, huge_pages: bool) -> None:
    """Measure; print the differences, rates and ratios."""
    console.say(f"\n{title}")
    with _sides.processes(sides, all_launched=huge_pages) as measures:
        results = _sides.take_turns(measures, repeats, lambda run: f"{run.rate:.1f} samples/s")
    rates = {name: [run.rate for run in runs] for name, runs in results.items()}
    print(f"\n{title}: {work.steps} steps, {repeats} repeats")
    rows = []
    for name, runs in results.items():
        ratio = "" if name == "ours" else _sides.ratio(rates["ours"], rates[name])
        memory = max(run.memory for run in runs) / 2**20
        rows.append([name, _sides.spread(rates[name]), ratio, f"{runs[0].padding:.0%}", f"{memory:,.0f}"])
    _sides.markdown(["side", "samples/s", "ours is faster by", "padding", "peak MiB"], rows)
    allocator = {name: "huge pages" if huge_pages or name == "ours" else "default" for name in sides}
    differences(
        {name: described(name, side) | {"allocator": allocator[name]} for name, side in sides.items()}
    )


def described(name: str, side: Any) -> dict[str, str]:
    """Return the settings of one side."""
    work: Work = side.args[0]
    settings, machine = work.settings, work.machine()
    if name == "ours":
        return {
            "model": f"{settings.head.pooling} pooling, {settings.head.kind} head",
            "dropout: hidden, attention": (
                f"{settings.dropout}, {settings.attention_dropout} (our random bits)"
            ),
            "precision": machine.precision,
            "attention": f"{machine.attention} (ours)",
            "order": "pools of 50 batches sorted by length, batches shuffled",
            "padding": "to the longest, multiple of 8",
            "optimizer": f"our AdamW, clipping at {settings.clip_norm}, {settings.schedule}",
        }
    config = storage.read_json(work.project / "data/base/config.json")
    own = f"{config.get('hidden_dropout_prob')}, {config.get('attention_probs_dropout_prob')} (torch)"
    if name == "tutorial":
        return {
            "model": "AutoModelForSequenceClassification",
            "dropout: hidden, attention": own,
            "precision": "fp32",
            "attention": "sdpa",
            "order": "random",
            "padding": f"to {_peers.TUTORIAL_LENGTH}",
            "optimizer": "torch.optim.AdamW, no clipping, no schedule",
        }
    peer: _peers.Peer = side.args[1]
    return {
        "model": f"{settings.head.pooling} pooling, {settings.head.kind} head"
        if peer.same_model
        else "AutoModelForSequenceClassification",
        "dropout: hidden, attention": f"{settings.dropout}, {settings.attention_dropout} (torch)"
        if peer.same_model
        else own,
        "precision": machine.precision if peer.best_flags and machine.precision == "bf16" else "fp32",
        "attention": peer.attention,
        "order": "pools of 50 batches (at most a quarter of all) sorted by length"
        if peer.best_flags
        else "random",
        "padding": "to the longest" + (f", multiple of {_peers.PAD_MULTIPLE}" if peer.best_flags else ""),
        "optimizer": f"adamw_torch_fused, clipping at {settings.clip_norm}, {settings.schedule}",
    }


def differences(sides: dict[str, dict[str, str]]) -> None:
    """Print the settings that differ between sides."""
    names = list(sides)
    keys = [key for key in sides["ours"] if len({values[key] for values in sides.values()}) > 1]
    _sides.markdown(["what differs", *names], [[key, *(sides[name][key] for name in names)] for key in keys])


def compare_accuracy(work: Work, seeds: Sequence[int]) -> None:
    """Compare whole training runs of both sides, each as recommended: does speed cost accuracy?"""
    peer = _peers.Peer("eager", best_flags=True, same_model=False)
    names = ("ours", "Trainer, best flags, eager")
    found: dict[str, list[Measured]] = {name: [] for name in names}
    for index, seed in enumerate(seeds):
        seeded = replace(work, settings=work.settings.model_copy(update={"seed": seed}))
        sides = dict(
            zip(
                names,
                (functools.partial(_training.ours, seeded), functools.partial(_peers.trainer, seeded, peer)),
                strict=True,
            )
        )
        if index % 2:
            sides = dict(reversed(sides.items()))
        with _sides.processes(sides) as measures:
            shown = _sides.take_turns(
                measures, 1, lambda run: f"accuracy {run.accuracy:.2%}, {run.rate:.1f} samples/s"
            )
        for name, runs in shown.items():
            found[name] += runs
    rates = {name: [run.rate for run in runs] for name, runs in found.items()}
    rows = []
    for name, runs in found.items():
        values = [run.accuracy for run in runs]
        deviation = statistics.stdev(values) if len(values) > 1 else 0.0
        each = ", ".join(f"{value:.2%}" for value in values)
        ratio = "" if name == "ours" else _sides.ratio(rates["ours"], rates[name])
        rows.append(
            [
                name,
                f"{statistics.mean(values):.2%} ± {deviation:.2%}",
                each,
                _sides.spread(rates[name]),
                ratio,
            ]
        )
    print(
        f"\nwhole training runs, {work.settings.epochs} epochs, seeds {', '.join(map(str, seeds))}; "
        "accuracy on validation after the last step"
    )
    _sides.markdown(["side", "accuracy", "by seed", "samples/s", "ours is faster by"], rows)


if __name__ == "__main__":
    console.run(main)
