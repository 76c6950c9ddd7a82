"""Figures and answers of a model that writes a text for each row; see `task_figures.TaskFigures`.

What stands in for logits are the generated texts, and for targets their references.
"""

from collections import abc
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import pandas as pd

from baton.contracts import task_spec
from baton.errors import DataError
from baton.tasks import text_scores
from baton.tasks.answers import Misfit

TEXT = "text"  # the column of the answer


@dataclass(frozen=True)
class SequenceFigures:
    """chrF of generated texts; answers are `text`."""

    spec: task_spec.Sequence

    directions: ClassVar[Mapping[str, int]] = {"loss": -1, "chrf": 1}
    main: ClassVar[str] = "chrf"
    gated: ClassVar[tuple[str, ...]] = ("chrf",)
    share: ClassVar[bool] = True
    probes: ClassVar[bool] = False

    def scores(self, logits: Any, targets: Any) -> dict[str, float]:
        """Return chrF of texts against their references; training adds `loss`, which needs the model.

        Raises:
            DataError: there are no texts, or not as many as references.
        """
        if not len(logits) or len(logits) != len(targets):
            raise DataError(
                "generated texts do not match the references",
                got=f"{len(logits)} texts, {len(targets)} references",
                expected="as many, and at least one",
                hint="both must come from the same rows",
            )
        sums = text_scores.statistics(targets, logits).sum(axis=0)
        return {"chrf": float(text_scores.chrf(sums))}

    def fitted(self, logits: Any, targets: Any) -> dict[str, Any]:  # noqa: ARG002
        """Return nothing: a text has no probability to calibrate."""
        return {}

    def texts(self, targets: Any) -> list[str]:
        """Return the targets themselves."""
        return list(targets)

    def answer(
        self,
        logits: Any,
        fitted: Mapping[str, Any],  # noqa: ARG002
        index: Any,
        texts: abc.Sequence[str] = (),  # noqa: ARG002
    ) -> pd.DataFrame:
        """Return `text`, what the model wrote for each input."""
        return pd.DataFrame({TEXT: list(logits)}, index=index)

    def said(self, answers: pd.DataFrame) -> list[str]:
        """Return the texts of an answer."""
        return [str(text) for text in answers[TEXT]]

    def misfit(self, answers: pd.DataFrame) -> Misfit | None:
        """Return that an answer has no text, if so."""
        names = list(map(str, answers.columns))
        return None if names == [TEXT] else Misfit(f"columns {', '.join(names[:3])}, expected {TEXT}", False)

    @property
    def columns(self) -> Mapping[str, type]:
        """The column `text`."""
        return {TEXT: str}

    def output(self, fitted: Mapping[str, Any]) -> str:  # noqa: ARG002
        """Return what the column holds."""
        how = f"by beam search with {self.spec.beams} beams" if self.spec.beams > 1 else "greedily"
        return f"`{TEXT}`, string, written {how}, at most {self.spec.target_length} tokens"
