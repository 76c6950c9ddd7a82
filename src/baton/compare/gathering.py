"""Put outcomes, costs and baselines together.

Input: experiments with their outcomes -> the comparison.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

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
MADE_BY = {TEACHER: "finetune", STUDENT: "distill"}  # the stage whose costs are a model's


def gather(
    planned: Sequence[Experiment], done: Mapping[str, Outcome], chosen: Strategies, with_baselines: bool
) -> Comparison:
    """Return the comparison of the experiments that are done.

    Raises:
        ParamsError: strategies were scored on different test rows.
    """
    there = [one for one in planned if one.name in done]
    settings, first = params.read().evaluate, done[there[0].name]
    for own in plan.draws(there).values():
        _check_rows(own, done)
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


def row(strategy: str, model: str) -> str:
    """Return the name of a strategy's model in tables; a teacher has that of its strategy."""
    return strategy if model == TEACHER else f"{strategy}/{model}"


def _check_rows(own: Sequence[Experiment], done: Mapping[str, Outcome]) -> None:
    """Refuse experiments of one draw that have different test rows."""
    first = own[0]
    for other in own[1:]:
        if done[first.name].tables["test"] != done[other.name].tables["test"]:
            raise ParamsError(
                f"{first.strategy} and {other.strategy} cannot be compared",
                got=f"different test rows at {plan.counted(first.labels)} labels, seed {first.seed}",
                expected="strategies that leave the test rows as they are",
                hint="remove what changes them from the file of strategies",
            )


def _trials(one: Experiment, own: Outcome, chosen: Strategies) -> Iterator[Trial]:
    for model, figures in own.figures.items():
        stage = MADE_BY.get(model)
        spent = running.read_costs(one, stage) if stage else {}
        sizes: dict[str, Any] = {"parameters": int(own.validation[model].get("parameters", 0)) or None}
        costs = Costs(**sizes | dict(spent))
        yield Trial(
            row(one.strategy, model),
            one.labels,
            one.seed,
            figures,
            own.scores[model],
            used(own, chosen),
            costs,
        )


def used(own: Outcome, chosen: Strategies) -> float:
    """Return the labels of train and validation, as `Strategies.unit` counts them."""
    rows = own.rows["train"] + own.rows["val"]
    return rows / own.names if chosen.labels == SHOTS else float(rows)


def _baselines(
    there: Sequence[Experiment], done: Mapping[str, Outcome], chosen: Strategies, settings: params.Evaluate
) -> Iterator[Trial]:
    """Yield the trials of baselines, on the rows of each draw's first experiment."""
    ridge = isinstance(params.read().task, params.NumbersTask)
    wanted = baseline_fits.chosen(settings, ridge)
    commits = experiments.known()
    for (labels, seed), group in plan.draws(there).items():
        one, own = group[0], done[group[0].name]
        for name, baseline in wanted.items():
            found = baseline_fits.kept(own.tables, baseline)
            if found is None and one.name in commits:
                with outcome.opened(commits[one.name]) as folder:
                    if folder is not None:
                        console.say(f"baseline {name}, {plan.counted(labels)} labels, seed {seed}")
                        found = baseline_fits.fit(folder / outcome.CLEAN, own.tables, name, baseline)
            if found is not None:
                costs = Costs(seconds=found.seconds)
                yield Trial(name, labels, seed, found.figures, found.scores, used(own, chosen), costs)
