"""Put outcomes, costs and baselines together.

Input: experiments with their outcomes -> the comparison.
"""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from baton import console, params
from baton.compare import baseline_fits, outcome, plan, running
from baton.compare.comparison import Comparison, Trial
from baton.compare.outcome import Outcome
from baton.compare.plan import Experiment
from baton.compare.strategies import SHOTS, Strategies
from baton.contracts.training_costs import Costs
from baton.errors import ParamsError
from baton.workspace import experiments

TEACHER, STUDENT, CONTROL = "teacher", "student", "control"
MADE_BY = {TEACHER: ("finetune",), STUDENT: ("finetune", "distill")}  # the stages whose costs are a model's
SIZES = ("trained_parameters", "parameters")


def gather(
    planned: Sequence[Experiment], done: Mapping[str, Outcome], chosen: Strategies, with_baselines: bool
) -> Comparison:
    """Return the comparison of the experiments that are done."""
    there = [one for one in planned if one.name in done]
    settings, first = params.read().evaluate, done[there[0].name]
    trials = [trial for one in there for trial in _trials(one, done[one.name], chosen)]
    fits = list(_baselines(there, done, chosen, settings)) if with_baselines else []
    distils = STUDENT in first.figures
    names = [strategy.name for strategy in chosen.all]
    return Comparison(
        figure=first.figure,
        confidence=settings.bootstrap.confidence,
        unit=chosen.unit,
        candidates=tuple(row(name, STUDENT) for name in names) if distils else tuple(names),
        others=tuple(row(name, model) for name in names for model in (TEACHER, CONTROL)) if distils else (),
        baselines=tuple(dict.fromkeys(trial.name for trial in fits)),
        labels=tuple(dict.fromkeys(one.labels for one in planned)),
        trials=(*trials, *fits),
    )


def check_rows(planned: Sequence[Experiment], done: Mapping[str, Outcome]) -> None:
    """Refuse experiments of one draw that have different rows.

    Args:
        planned: all experiments; those that are not done have no rows yet.
        done: the outcomes by name.

    Raises:
        ParamsError: two of them have different rows of train, val or test.
    """
    for first, *others in plan.draws(one for one in planned if one.name in done).values():
        for other in others:
            for split, digest in done[first.name].tables.items():
                if done[other.name].tables[split] != digest:
                    where = f"at {plan.counted(first.labels)} labels, seed {first.seed}"
                    raise ParamsError(
                        f"{first.strategy} and {other.strategy} cannot be compared",
                        got=f"different {split} rows {where}",
                        expected="strategies that leave the rows as they are",
                        hint="remove what changes them from the file of strategies",
                    )


def row(strategy: str, model: str) -> str:
    """Return the name of a strategy's model in tables; a teacher has that of its strategy."""
    return strategy if model == TEACHER else f"{strategy}/{model}"


def _trials(one: Experiment, own: Outcome, chosen: Strategies) -> Iterator[Trial]:
    for model, figures in own.figures.items():
        yield Trial(
            row(one.strategy, model),
            one.labels,
            one.seed,
            figures,
            own.scores[model],
            used(own, chosen),
            _costs(one, model, own.validation[model]),
        )


def _costs(one: Experiment, model: str, figures: Mapping[str, float]) -> Costs:
    """Return what a model took, a student with its teacher; None for what is not known."""
    spent = [running.read_costs(one, stage) for stage in MADE_BY.get(model, ())]
    seconds, peaks = (
        [each[key] for each in spent if each.get(key) is not None] for key in ("seconds", "peak_memory_bytes")
    )
    return Costs(
        sum(seconds) if seconds and len(seconds) == len(spent) else None,
        max(peaks) if peaks and len(peaks) == len(spent) else None,
        *(int(figures[key]) if key in figures else None for key in SIZES),
    )


def used(own: Outcome, chosen: Strategies) -> float:
    """Return the labels of train and validation, as `Strategies.unit` counts them."""
    rows = own.rows["train"] + own.rows["val"]
    return rows / own.names if chosen.labels == SHOTS else float(rows)


def _baselines(
    there: Sequence[Experiment], done: Mapping[str, Outcome], chosen: Strategies, settings: params.Evaluate
) -> Iterator[Trial]:
    """Yield the trials of baselines on the rows of each draw, from any of its experiments that is there."""
    ridge = isinstance(params.read().task, params.NumbersTask)
    wanted = baseline_fits.chosen(settings, ridge)
    commits = experiments.known()
    for (labels, seed), group in plan.draws(there).items():
        own, said = done[group[0].name], f"{plan.counted(labels)} labels, seed {seed}"
        there_too = [commits[one.name] for one in group if one.name in commits]
        for name, baseline in wanted.items():
            found = baseline_fits.kept(own.tables, baseline)
            if found is None:
                with _first_opened(there_too) as folder:
                    if folder is None:
                        console.warn(name, f"{said}: not fitted, since DVC's cache lacks the rows")
                        continue
                    console.say(f"baseline {name}, {said}")
                    found = baseline_fits.fit(folder / outcome.CLEAN, own.tables, name, baseline)
            if found is not None:
                costs = Costs(seconds=found.seconds)
                yield Trial(name, labels, seed, found.figures, found.scores, used(own, chosen), costs)


@contextlib.contextmanager
def _first_opened(commits: Sequence[str]) -> Iterator[Path | None]:
    """Yield a folder with the clean tables of the first of these experiments that DVC's cache holds."""
    for commit in commits:
        with outcome.opened(commit) as folder:
            if folder is not None:
                yield folder
                return
    yield None
