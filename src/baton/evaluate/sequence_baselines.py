"""Baselines for texts as targets: copy the source, or answer with the target of the nearest train source.

Inputs: sources and targets of train, both texts -> a fitted baseline that writes a text for each source.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from baton import params
from baton.errors import DataError, ParamsError
from baton.evaluate.sequence_outputs import SequenceOutputs

CELLS = 2**24  # similarities to train in memory at a time: 64 MiB, and up to twice that while sparse


@dataclass(frozen=True)
class SequenceFitted:
    """A baseline fitted on train."""

    write: Callable[[Sequence[str]], Sequence[str]]  # sources -> texts
    C: float | None = None

    def outputs(self, inputs: Sequence[str]) -> SequenceOutputs:
        """Return the texts for `inputs` (n)."""
        return SequenceOutputs(tuple(self.write(inputs)))


@dataclass(frozen=True)
class SequenceBaselines:
    """The baselines of this module; see `task_reports.TaskBaselines`."""

    ridge: ClassVar[bool] = False

    def fit(
        self,
        baseline: params.Baseline,
        inputs: Sequence[str],
        targets: NDArray[Any],
        validation: tuple[Sequence[str], NDArray[Any]] | None,  # noqa: ARG002
        weights: NDArray[np.float32] | None,  # noqa: ARG002
    ) -> SequenceFitted:
        """Fit a baseline; nothing in it is chosen on validation, and weights of rows do not matter.

        Raises:
            DataError: no term of the train sources is left to count.
            ParamsError: it is a baseline of another task.
        """
        match baseline:
            case params.CopyBaseline():
                return SequenceFitted(lambda sources: sources)
            case params.NearestBaseline():
                return SequenceFitted(_nearest(baseline, inputs, targets))
        raise ParamsError(
            "evaluate.baselines: this one writes no texts",
            got=baseline.kind,
            expected="copy or nearest",
            hint="remove it",
        )

    def arrays(self, outputs: SequenceOutputs) -> dict[str, NDArray[Any]]:
        """Return `texts`."""
        return {"texts": np.array([*outputs.texts, None], dtype=object)[:-1]}

    def of_arrays(self, arrays: Mapping[str, NDArray[Any]], C: float | None) -> SequenceOutputs:  # noqa: N803
        """Return the outputs whose `arrays` these are."""
        return SequenceOutputs(tuple(arrays["texts"]), C)


def _nearest(
    baseline: params.NearestBaseline, sources: Sequence[str], targets: NDArray[Any]
) -> Callable[[Sequence[str]], Sequence[str]]:
    """Return the function from sources to the targets of the most similar ones in train."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectorizer = TfidfVectorizer(
        analyzer=baseline.analyzer,
        ngram_range=(1, baseline.max_ngram),
        min_df=baseline.min_df,
        sublinear_tf=True,
        token_pattern=r"(?u)\S+" if baseline.analyzer == "word" else None,
        dtype=np.float32,
    )
    try:
        known = vectorizer.fit_transform(sources)
    except ValueError as error:
        raise DataError(
            "baseline nearest: train's sources have no term to count",
            got=str(error),
            expected="terms in at least min_df sources",
            hint="lower evaluate.baselines min_df, or set analyzer to char",
        ) from None

    at_once = max(CELLS // known.shape[0], 1)  # sources

    def write(rows: Sequence[str]) -> list[str]:
        found: list[str] = []
        for start in range(0, len(rows), at_once):
            alike = (vectorizer.transform(rows[start : start + at_once]) @ known.T).toarray()
            found += targets[alike.argmax(axis=1)].tolist()
        return found

    return write
