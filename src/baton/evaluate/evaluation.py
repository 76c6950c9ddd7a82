"""Everything that a report shows, and the names of the models that every project has."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from baton.evaluate.attributions import Explained
from baton.evaluate.inputs import Curve, Rows
from baton.evaluate.report.image_galleries import Gallery, Sheet
from baton.evaluate.robustness import Robustness
from baton.evaluate.row_groups import Group

TRANSFORMERS = ("teacher", "student", "control")


@dataclass(frozen=True)
class Evaluation:
    """Everything that is shown: the source of tables and figures."""

    names: list[str]  # of the classes or labels
    test: Rows
    outputs: Mapping[str, Any]  # model -> its answers on test; transformers first, then baselines
    bootstrap: Any  # what the task made of the test rows
    curves: dict[str, Curve]
    best: str | None  # the strongest baseline
    bins: int
    kept: Mapping[str, Sequence[str]] = field(default_factory=dict)  # kept column -> values of the test rows
    robustness: Robustness | None = None  # this and the following: for images, if requested
    galleries: Mapping[str, Gallery] = field(default_factory=dict)  # model -> its mistakes
    sheet: Sheet | None = None
    # Model -> figures of images with texts, and of either alone: `single_inputs.figures`.
    single_inputs: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    # Answers of the student about texts, with the words that spoke for them, if requested.
    explained: Sequence[Explained] = ()
    groups: Mapping[str, Group] = field(default_factory=dict)  # of the test rows, by what all of them have
    # Validation and the models' answers on it, on which thresholds are chosen.
    val: tuple[Rows, Mapping[str, Any]] | None = None

    @property
    def drawn(self) -> dict[str, Any]:
        """The transformers and the strongest baseline."""
        return {name: self.outputs[name] for name in (*TRANSFORMERS, *([self.best] if self.best else []))}
