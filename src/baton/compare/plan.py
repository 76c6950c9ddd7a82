"""The experiments of a comparison: one for each strategy, number of labels and seed.

Input: strategies, params.yaml and dvc.yaml -> experiments, whose names are unique to all that they depend on.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from baton import params
from baton.compare.strategies import ROWS, Strategies, Strategy
from baton.errors import ParamsError
from baton.params import editing
from baton.workspace.stage_inputs import Inputs

DIGITS = 8  # of the digest in an experiment's name


@dataclass(frozen=True)
class Experiment:
    """One training run."""

    name: str  # lora-32-seed0-1a2b3c4d
    strategy: str
    labels: int | None  # None: all
    seed: int
    changes: Mapping[str, Any]  # dotted key of params.yaml -> value

    @property
    def said(self) -> str:
        """What it is, in words."""
        return f"{self.strategy}, {counted(self.labels)} labels, seed {self.seed}"


def counted(labels: int | None) -> str:
    """Return a number of labels as the command line writes it."""
    return "all" if labels is None else str(labels)


def experiments(
    chosen: Strategies,
    labels: Sequence[int | None],
    seeds: Sequence[int],
    raw: Mapping[str, Any],
    known: Inputs,
    files: str,
) -> tuple[Experiment, ...]:
    """Return the experiments, those of the same data one after the other.

    Args:
        chosen: the strategies.
        labels: numbers of labels; None: all.
        seeds: each draws labels and validation, and trains.
        raw: content of params.yaml.
        known: what they depend on.
        files: its digest.

    Raises:
        ParamsError: the params of a strategy are not valid, or no stage reads what it changes.
    """
    for strategy in chosen.all:
        _check(strategy, chosen, known)
        for count in labels:
            params.checked(
                editing.replaced(raw, _changes(chosen, strategy, count, seeds[0])),
                params.PATH.with_name(
                    f"{params.PATH.name} with strategy {strategy.name} at {counted(count)} labels"
                ),
            )
    return tuple(
        _experiment(chosen, strategy, count, seed, raw, known, files)
        for count in labels
        for seed in seeds
        for strategy in chosen.all
    )


def usable(
    chosen: Strategies, labels: Sequence[int | None], raw: Mapping[str, Any]
) -> tuple[Strategies, dict[str, str]]:
    """Return the strategies that are for this kind of task and input, and why the others are not.

    Args:
        chosen: the strategies.
        labels: numbers of labels; a strategy must be for each of them.
        raw: content of params.yaml.

    Raises:
        ParamsError: params.yaml itself is not valid, or not with these numbers of labels.
    """
    params.checked(dict(raw), params.PATH)
    drawn = [editing.replaced(raw, {chosen.labels: count}) for count in labels]
    for count, each in zip(labels, drawn, strict=True):
        try:
            params.checked(each, params.PATH)
        except ParamsError as error:
            other = f"set `labels: {ROWS}` in the file of strategies" if chosen.labels != ROWS else None
            raise ParamsError(
                f"params.yaml cannot be used with {counted(count)} {chosen.unit}",
                got="; ".join(problems(error)),
                expected=f"a task that {chosen.labels} is for",
                hint=other or "choose other --labels",
            ) from None
    refused: dict[str, str] = {}
    for strategy in chosen.all:
        try:
            for each in drawn:
                params.checked(editing.replaced(each, strategy.changes), params.PATH)
        except ParamsError as error:
            refused[strategy.name] = "; ".join(problems(error))
    kept = tuple(own for own in chosen.all if own.name not in refused)
    return Strategies(chosen.stage, chosen.labels, kept), refused


def problems(error: ParamsError) -> list[str]:
    """Return the lines of an error of `params.checked`."""
    lines = [line.removeprefix("  - ") for line in str(error).splitlines()[1:] if line.startswith("  - ")]
    return lines or [str(error)]


def numbers(text: str, option: str, least: int, extra: str = "") -> list[int | None]:
    """Return the numbers of a list such as `8,32,all`; None stands for the word `extra`.

    Raises:
        ParamsError: it has something else, a number below `least`, or something twice.
    """
    words = [word.strip() for word in text.split(",")]
    expected = f"numbers from {least} on, with commas between them" + (f", or {extra}" if extra else "")
    for word in words:
        if not (word.isascii() and word.isdigit() and int(word) >= least) and (not extra or word != extra):
            raise ParamsError(f"{option} cannot be read", got=repr(word), expected=expected)
    if len({*words}) < len(words):
        raise ParamsError(f"{option} has something twice", got=text, expected=expected)
    return sorted(
        (None if word == extra else int(word) for word in words),
        key=lambda count: (count is None, count or 0),
    )


def _check(strategy: Strategy, chosen: Strategies, known: Inputs) -> None:
    drawn = _drawn(chosen, None, 0)
    for key in strategy.changes:
        if set_by := [own for own in drawn if own == key or own.startswith(f"{key}.")]:
            raise ParamsError(
                f"strategy {strategy.name} sets what `baton compare` sets itself",
                got=key,
                expected=f"other keys than {', '.join(set_by)}",
                hint="use --labels and --seeds instead",
            )
        if key.partition(".")[0] not in known.sections:
            raise ParamsError(
                f"strategy {strategy.name} changes what its experiments do not read",
                got=key,
                expected=f"keys of {', '.join(known.sections)}",
                hint="remove it, or set `stage: distill` in the file of strategies",
            )


def _changes(chosen: Strategies, strategy: Strategy, labels: int | None, seed: int) -> dict[str, Any]:
    return _drawn(chosen, labels, seed) | dict(strategy.changes)


def _drawn(chosen: Strategies, labels: int | None, seed: int) -> dict[str, Any]:
    """Return the keys that are the same for all strategies of a draw."""
    drawn = {chosen.labels: labels, "preprocess.seed": seed}
    return drawn | {f"{stage}.seeds": [seed] for stage in chosen.stages}


def _experiment(
    chosen: Strategies,
    strategy: Strategy,
    labels: int | None,
    seed: int,
    raw: Mapping[str, Any],
    known: Inputs,
    files: str,
) -> Experiment:
    changes = _changes(chosen, strategy, labels, seed)
    made = editing.replaced(raw, changes)
    depends = {"files": files, "params": {section: made.get(section) for section in known.sections}}
    digest = hashlib.sha256(json.dumps(depends, sort_keys=True, default=str).encode()).hexdigest()
    name = f"{strategy.name}-{counted(labels)}-seed{seed}-{digest[:DIGITS]}"
    return Experiment(name, strategy.name, labels, seed, changes)


def split(text: str, option: str) -> list[str]:
    """Return the names in a list with commas.

    Raises:
        ParamsError: one is empty or given twice.
    """
    names = [word.strip() for word in text.split(",")]
    if not all(names) or len({*names}) < len(names):
        raise ParamsError(
            f"{option} cannot be read", got=text, expected="different names, with commas between them"
        )
    return names


def draws(planned: Iterable[Experiment]) -> dict[tuple[int | None, int], list[Experiment]]:
    """Return the experiments of each draw: number of labels and seed. They have the same rows."""
    found: dict[tuple[int | None, int], list[Experiment]] = {}
    for one in planned:
        found.setdefault((one.labels, one.seed), []).append(one)
    return found
