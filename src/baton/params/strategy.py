"""`finetune.strategy`: which weights are trained, when and at which rate, or how a head is made."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from baton.params.episodes import EpisodesStrategy
from baton.params.fields import Count, Section

Rate = Annotated[float, Field(gt=0)]
Dropout = Annotated[float, Field(ge=0, lt=1)]
Start = Annotated[float, Field(ge=0, lt=1)]  # share of all steps


class FullStrategy(Section):
    """All weights, from the first step."""

    kind: Literal["full"]


class HeadStrategy(Section):
    """The head alone; the features that it reads are computed once and kept on disk."""

    kind: Literal["head"]


class TopStrategy(Section):
    """The head and the `layers` layers below it."""

    kind: Literal["top"]
    layers: Count


class GradualStrategy(Section):
    """Gradual unfreezing with discriminative rates (ULMFiT, Howard & Ruder 2018, arXiv:1801.06146).

    Training starts with the head. Layers join from top to bottom at even intervals, the last at the share
    `until` of all steps; each has the rate of the one above it divided by `decay` (2.6 in the paper).
    """

    kind: Literal["gradual"]
    decay: Annotated[float, Field(ge=1)]
    until: Annotated[float, Field(gt=0, lt=1)]


class LoraStrategy(Section):
    """Low-rank updates of all linear layers (Hu et al. 2022, arXiv:2106.09685), and the head.

    An update is `alpha / rank` times the product of two matrices of rank `rank`. It is merged into the
    weights at the end. `dropout` applies to what an update reads.
    """

    kind: Literal["lora"]
    rank: Count
    alpha: Rate
    dropout: Dropout


class LayerRow(Section):
    """Layer groups whose names match the pattern `layers` are trained at `rate` times the learning rate.

    Groups are called `layer.0` (the embeddings, or an image model's stem), `layer.1`, … and `head`; in a
    pattern, `*` stands for any characters. With a rate of 0 a group is not trained. It joins the training at
    the share `unfreeze` of all steps.
    """

    layers: Annotated[str, Field(min_length=1)]
    rate: Annotated[float, Field(ge=0)]
    unfreeze: Start


class RowsStrategy(Section):
    """Ordered rows; the first that matches a layer group counts, and each group must match one."""

    kind: Literal["rows"]
    rows: Annotated[tuple[LayerRow, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _trains(self) -> "RowsStrategy":
        if not any(row.rate and not row.unfreeze for row in self.rows):
            raise ValueError(
                "no row is trained from the first step: one needs a rate above 0 and unfreeze 0.0"
            )
        return self


class ProbeStrategy(Section):
    """A logistic regression on the frozen base model's features is the head (a linear probe)."""

    kind: Literal["probe"]


class PrototypesStrategy(Section):
    """The head compares features with each class's mean (prototypical networks, Snell et al. 2017)."""

    kind: Literal["prototypes"]


class PairsStrategy(Section):
    """Contrastive training on pairs of texts of the same and of different classes, then logistic regression.

    As SetFit (Tunstall et al. 2022, arXiv:2209.11055). In each of `steps` steps, `batch_size` rows are drawn
    with all classes equally often, and all of their pairs count. `learning_rate` replaces that of `finetune`.
    """

    kind: Literal["pairs"]
    steps: Count
    learning_rate: Rate


_Fixed = (
    FullStrategy
    | HeadStrategy
    | TopStrategy
    | GradualStrategy
    | LoraStrategy
    | RowsStrategy
    | ProbeStrategy
    | PrototypesStrategy
    | PairsStrategy
    | EpisodesStrategy
)
FixedStrategy = Annotated[_Fixed, Field(discriminator="kind")]


class AutoStrategy(Section):
    """With at most `rows` train rows, `folds`-fold cross-validation chooses a strategy `among` these.

    Of equals the first is chosen. With more rows, or if the rows cannot be divided, it is the last.
    """

    kind: Literal["auto"]
    rows: Count
    folds: Annotated[int, Field(ge=2)]
    among: Annotated[tuple[FixedStrategy, ...], Field(min_length=2)]

    @model_validator(mode="after")
    def _distinct(self) -> "AutoStrategy":
        kinds = [own.kind for own in self.among]
        if len(set(kinds)) < len(kinds):
            raise ValueError(f"among: each kind of strategy may appear once, not {', '.join(kinds)}")
        return self


Strategy = Annotated[_Fixed | AutoStrategy, Field(discriminator="kind")]

FITTED = ("probe", "prototypes", "pairs", "episodes")  # they compute a linear head instead of training it


def strategies(asked: Strategy) -> tuple[FixedStrategy, ...]:
    """Return the strategies that may be used: those that `auto` chooses among, or the one itself."""
    return asked.among if isinstance(asked, AutoStrategy) else (asked,)
