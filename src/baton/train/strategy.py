"""Which weights are trained, from when on and at which rate: ordered rows over a model's layer groups.

Input: a model and `finetune.strategy`. Output: its groups of parameters, from input to head, each with the
factor on its learning rate and the share of all steps at which it joins. Frozen weights get no gradient and
no optimizer state, and nothing is kept for a backward pass below the lowest weight that is trained.
"""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from torch import nn

from baton import params
from baton.errors import ModelError

HEAD = "head"


@dataclass(frozen=True)
class Group:
    """Parameters that are trained alike, by name; `rate` is 0 if they are never trained."""

    names: tuple[str, ...]
    rate: float = 1.0
    unfreeze: float = 0.0  # share of all steps


def groups(model: nn.Module, settings: params.Training) -> list[Group]:
    """Return the groups of the parameters that may be trained, from input to head.

    `layer_decay` multiplies the rates of the strategy. Parameters that are frozen already stay so.

    Raises:
        ModelError: a layer group matches no row of the strategy, or a row no group that earlier ones leave,
            or the architecture's parameters cannot be assigned to layers.
    """
    free = {name: None for name, parameter in model.named_parameters() if parameter.requires_grad}
    wanted = rows(settings.strategy, model) if isinstance(settings, params.Finetune) else None
    if wanted is None and settings.layer_decay == 1:
        return [Group(tuple(free))]
    named = layers(model)
    wanted = [params.LayerRow(layers="*", rate=1.0, unfreeze=0.0)] if wanted is None else wanted
    for row in wanted:
        if not any(fnmatchcase(name, row.layers) for name in named):
            raise _unmatched(f"no layer group matches the row {row.layers}", list(named))
    chosen = [_row(name, wanted, list(named)) for name in named]
    for place, row in enumerate(_own(settings)):
        if not any(own is row for own in chosen):
            raise _unmatched(
                f"row {place + 1}, {row.layers}, comes after rows for all it matches", list(named)
            )
    return [
        Group(
            tuple(name for name in own if name in free),
            row.rate * settings.layer_decay ** (len(named) - 1 - depth),
            row.unfreeze,
        )
        for depth, (own, row) in enumerate(zip(named.values(), chosen, strict=True))
    ]


def layers(model: nn.Module) -> dict[str, list[str]]:
    """Map the name of each layer group, from input to head, to those of its parameters.

    A model that writes texts has no head of its own.
    """
    found: list[list[str]] = getattr(model, "layer_groups")()  # noqa: B009  nn.Module does not declare it
    names = [f"layer.{depth}" for depth in range(len(found))]
    if not any(name.startswith("backbone.") for name in found[-1]):
        names[-1] = HEAD
    return dict(zip(names, found, strict=True))


def rows(strategy: params.Strategy, model: nn.Module) -> list[params.LayerRow] | None:
    """Return a strategy's rows over the layer groups; None: all weights, alike, from the first step."""
    match strategy:
        case params.RowsStrategy():
            return list(strategy.rows)
        case params.HeadStrategy():
            return [_trained(HEAD), _frozen("*")]
        case params.TopStrategy():
            below = [name for name in layers(model) if name != HEAD]
            if strategy.layers > len(below):
                raise ModelError(
                    "finetune.strategy: top has more layers than the model",
                    got=strategy.layers,
                    expected=f"at most {len(below)}, the embeddings among them",
                    hint="lower layers, or set kind to full",
                )
            kept = [*below[-strategy.layers :], *([HEAD] if HEAD in layers(model) else [])]
            return [*map(_trained, kept), *([_frozen("*")] if strategy.layers < len(below) else [])]
        case params.GradualStrategy():
            return _gradual(strategy, list(layers(model)))
        case _:
            return None


def starts(found: Sequence[Group], steps: int) -> list[int]:
    """Return the steps before which groups join the training, in order; the first is 0."""
    return sorted({_first(group, steps) for group in found if group.rate})


def apply(model: nn.Module, found: Sequence[Group], step: int, steps: int) -> None:
    """Let the groups that have joined before step `step` (from 0) of `steps` get gradients, and no others."""
    parameters = dict(model.named_parameters())
    for group in found:
        joined = bool(group.rate) and _first(group, steps) <= step
        for name in group.names:
            parameters[name].requires_grad_(joined)


@contextlib.contextmanager
def begun(model: nn.Module, settings: params.Training, steps: int) -> Iterator[None]:
    """Freeze what is not trained in the first steps, for measurements; afterwards nothing has changed."""
    found = groups(model, settings)
    apply(model, found, 0, steps)
    try:
        yield
    finally:
        parameters = dict(model.named_parameters())
        for group in found:
            for name in group.names:
                parameters[name].requires_grad_(True)


def untrained(model: nn.Module, found: Sequence[Group]) -> frozenset[str]:
    """Return the names of the parameters that are never trained."""
    known = {name for group in found if group.rate for name in group.names}
    return frozenset(name for name, _ in model.named_parameters() if name not in known)


def training_mode(model: nn.Module) -> None:
    """Set the model to training mode, but frozen modules to eval mode: they keep their statistics."""
    model.train()
    for module in model.modules():
        own = list(module.parameters())
        if own and not any(parameter.requires_grad for parameter in own):
            module.eval()


def _first(group: Group, steps: int) -> int:
    return min(round(group.unfreeze * steps), steps - 1)  # it is trained in the last step at least


def _gradual(strategy: params.GradualStrategy, names: Sequence[str]) -> list[params.LayerRow]:
    """Return a row for each layer group, the topmost of which is trained from the first step."""
    last = len(names) - 1
    return [
        params.LayerRow(
            layers=name, rate=strategy.decay**-below, unfreeze=strategy.until * below / max(last, 1)
        )
        for below, name in enumerate(reversed(names))
    ]


def _trained(name: str) -> params.LayerRow:
    return params.LayerRow(layers=name, rate=1.0, unfreeze=0.0)


def _frozen(name: str) -> params.LayerRow:
    return params.LayerRow(layers=name, rate=0.0, unfreeze=0.0)


def _own(settings: params.Training) -> Sequence[params.LayerRow]:
    """Return the rows that the user wrote."""
    strategy = settings.strategy if isinstance(settings, params.Finetune) else None
    return strategy.rows if isinstance(strategy, params.RowsStrategy) else ()


def _row(name: str, wanted: Sequence[params.LayerRow], names: Sequence[str]) -> params.LayerRow:
    for row in wanted:
        if fnmatchcase(name, row.layers):
            return row
    raise _unmatched(f"the layer group {name} matches no row", names)


def _unmatched(problem: str, names: Sequence[str]) -> ModelError:
    return ModelError(
        f"finetune.strategy: {problem}",
        got=f"the layer groups {names[0]} to {names[-2]} and {names[-1]}" if len(names) > 1 else names[0],
        expected="one row for each group, in order of precedence",
        hint="end with a row for `*`; a rate of 0.0 freezes what it matches",
    )
