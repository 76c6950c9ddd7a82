"""`baton compare`: plan, run what is not there yet, fit baselines, and write the comparison.

Input: the command's options, strategies.yaml, params.yaml -> DVC experiments, and files in the output folder.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.markup import escape

from baton import console, params, storage
from baton.compare import gathering, outcome, plan, report, running, strategies
from baton.compare.outcome import Outcome
from baton.compare.plan import Experiment
from baton.compare.strategies import Strategies
from baton.errors import OutputError
from baton.processes import locks
from baton.workspace import experiments, private_copy, stage_inputs
from baton.workspace.stage_inputs import Inputs

OUTPUT = Path("reports/compare")
ALONE = "comparison runs in this project"


@dataclass(frozen=True)
class Options:
    """The command line's options."""

    file: Path
    strategies: str | None  # names with commas; None: all that are for this kind of task and input
    labels: str
    seeds: str
    baseline: bool
    output: Path
    dry_run: bool
    track: bool
    models: bool


def compare(options: Options) -> None:
    """Do all of it.

    Raises:
        ParamsError: an option, the strategies or params.yaml are not valid, git has no commit, or strategies
            have different rows.
        OutputError: an experiment failed; the comparison of the others is written before.
    """
    private_copy.head()
    labels = plan.numbers(options.labels, "--labels", 1, "all")
    chosen, notes = _chosen(options, labels)
    known, text = stage_inputs.of(chosen.stage), params.PATH.read_text(encoding="utf-8")
    planned = _planned(chosen, labels, options.seeds, known)
    done = _done(planned, chosen.stages)
    if options.dry_run:
        _list(planned, done)
        return
    with locks.alone(storage.state(running.STATE) / "lock", ALONE):
        failed = _run(planned, done, chosen, known, text, options.track, options.models)
        if done:
            found = gathering.gather(planned, done, chosen, options.baseline)
            report.write(
                options.output, found, [*notes, *(f"{name} failed: {why}" for name, why in failed.items())]
            )
            report.show(found)
            console.say(
                f"next: {escape(str(options.output))}/comparison.md; `dvc exp show` lists the experiments"
            )
    _check(failed, planned)


def outcomes(
    chosen: Strategies, labels: Sequence[int | None], seeds: str
) -> tuple[Sequence[Experiment], dict[str, Outcome]]:
    """Run the experiments that are not there yet, without keeping weights, for something else than a table.

    Returns:
        The experiments, and the outcome of each by its name.

    Raises:
        ParamsError: `seeds`, the strategies or params.yaml are not valid, or git has no commit.
        OutputError: an experiment failed; the next call tries it again.
    """
    private_copy.head()
    known, text = stage_inputs.of(chosen.stage), params.PATH.read_text(encoding="utf-8")
    planned = _planned(chosen, labels, seeds, known)
    done = _done(planned, chosen.stages)
    with locks.alone(storage.state(running.STATE) / "lock", ALONE):
        failed = _run(planned, done, chosen, known, text, track=False, models=False)
    _check(failed, planned)
    return planned, done


def _planned(
    chosen: Strategies, labels: Sequence[int | None], seeds: str, known: Inputs
) -> Sequence[Experiment]:
    numbers = [seed or 0 for seed in plan.numbers(seeds, "--seeds", 0)]
    return plan.experiments(chosen, labels, numbers, params.read_raw(), known, known.digest())


def _check(failed: Mapping[str, str], planned: Sequence[Experiment]) -> None:
    """Refuse failed experiments."""
    if failed:
        raise OutputError(
            f"{len(failed)} of {len(planned)} experiments failed",
            got=", ".join([*failed][:3]),
            hint=f"see {storage.state(running.STATE)}/logs; the next call runs them again",
        )


def _chosen(options: Options, labels: Sequence[int | None]) -> tuple[Strategies, list[str]]:
    """Return the strategies to compare, and notes on those that are left out."""
    every = strategies.read(options.file)
    if options.strategies is not None:
        return every.named(plan.split(options.strategies, "--strategies")), []
    kept, refused = plan.usable(every, labels, params.read_raw())
    notes = [f"{name} is left out: {why}" for name, why in refused.items()]
    for note in notes:
        console.warn("compare", note)
    if not kept.all:
        raise OutputError(
            f"no strategy of {options.file} is for these params", hint="name some with --strategies"
        )
    return kept, notes


def _done(planned: Sequence[Experiment], stages: Sequence[str]) -> dict[str, Outcome]:
    """Return the outcomes of the experiments that were run before."""
    commits = experiments.known()
    found: dict[str, Outcome] = {}
    for one in planned:
        own = outcome.kept(one.name)
        if own is None and one.name in commits:
            own = outcome.of_commit(commits[one.name], stages)
            if own is not None:
                outcome.keep(one.name, own)
        if own is not None:
            found[one.name] = own
    return found


def _list(planned: Sequence[Experiment], done: Mapping[str, Outcome]) -> None:
    rows = [
        [one.name, plan.counted(one.labels), one.seed, "done" if one.name in done else "to run"]
        for one in planned
    ]
    console.table(f"{len(planned)} experiments", ["experiment", "labels", "seed", ""], rows)
    console.say(f"{len(done)} are done, {len(planned) - len(done)} would run")


def _run(
    planned: Sequence[Experiment],
    done: dict[str, Outcome],
    chosen: Strategies,
    known: Inputs,
    text: str,
    track: bool,
    models: bool,
) -> dict[str, str]:
    """Run the experiments that are not done, and add them to `done`; return those that failed, and why.

    `text` is the content of params.yaml by which they were planned. As soon as experiments of one draw have
    different rows, no other is run.
    """
    gathering.check_rows(planned, done)
    todo = [one for one in planned if one.name not in done]
    console.say(f"compare: {len(planned)} experiments, {len(done)} are done")
    if not todo:
        return {}

    def finished(one: Experiment, commit: str) -> str:
        own = outcome.of_commit(commit, chosen.stages)
        assert own is not None, "DVC has just put its outputs into the cache"
        outcome.keep(one.name, own)
        done[one.name] = own
        gathering.check_rows(planned, done)
        return ", ".join(
            f"{name} {own.figure.value(figures[own.figure.name])}" for name, figures in own.figures.items()
        )

    copy = private_copy.prepare(storage.state(running.STATE) / "copy", known.paths)
    place = running.Place(copy, chosen.stages, track, models, text)
    try:
        return running.run_all(todo, len(done), place, finished).failed
    except (KeyboardInterrupt, SystemExit):
        console.say(
            f"compare: stopped with {len(done)} of {len(planned)} done; the same command goes on from there"
        )
        raise
