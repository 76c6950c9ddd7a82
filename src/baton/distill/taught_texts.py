"""The targets of a student that learns the texts its teacher wrote: sequence-level distillation.

Kim & Rush 2016, Sequence-level knowledge distillation, arXiv:1606.07947, section 3.2: the teacher's outputs
for train replace the references. For a share `alpha` of the rows the reference stays, so the loss is, over
all rows, the mixture of both that params ask for.
"""

import numpy as np
from numpy.typing import NDArray

from baton.contracts.targets import Targets

KEY = 16061  # keeps these draws apart from others with the same seed


def references(rows: int, alpha: float, seed: int) -> NDArray[np.bool_]:
    """Return which rows keep their reference, (rows,); it depends on nothing but the arguments."""
    return np.random.default_rng((seed, KEY)).random(rows) < alpha


def mixed(own: Targets, written: Targets, kept: NDArray[np.bool_]) -> Targets:
    """Return `own` for the rows that are `kept`, and `written` for the others, in row order."""
    assert own.offsets is not None, "arrays hold tokens"
    assert len(own) == len(written)
    parts = [
        (own if keep else written).part(np.array([row])).values for row, keep in enumerate(kept.tolist())
    ]
    offsets = np.concatenate([[0], np.cumsum([len(part) for part in parts], dtype=np.int64)])
    return Targets(own.spec, np.concatenate(parts), offsets)
