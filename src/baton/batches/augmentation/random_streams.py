"""Random numbers of a sample: a pure function of (seed, epoch, sample id).

Each sample has a counter-based generator of its own (Philox: Salmon et al. 2011) whose key is its id's digest and the seed, and whose
counter begins at the epoch: neither order, batch, worker nor rank changes what a sample gets.
"""

import hashlib
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray


def keys(ids: Iterable[str]) -> NDArray[np.uint64]:
    """A number for each sample id, the beginning of its sha256."""
    digests = b"".join(hashlib.sha256(name.encode()).digest()[:8] for name in ids)
    return np.frombuffer(digests, dtype="<u8").astype(np.uint64)


class Generators:
    """The generators of all samples in one epoch; `stream` tells those of one sample from each other."""

    def __init__(self, seed: int, epoch: int, stream: int) -> None:
        """`seed` is the training's, `epoch` counts from 0."""
        self._seed, self._counter = seed, (0, epoch, stream, 0)  # the first place counts the numbers drawn
        self._bits = np.random.Philox(0)
        self._state: Any = self._bits.state
        self._generator = np.random.Generator(self._bits)

    def of(self, key: np.uint64) -> np.random.Generator:
        """A sample's generator at its beginning, valid until the next is asked for: giving it a state is cheaper than making one."""
        self._state["state"]["key"][:] = key, self._seed
        self._state["state"]["counter"][:] = self._counter
        self._state["buffer_pos"], self._state["has_uint32"] = 4, 0  # nothing is left over from the last
        self._bits.state = self._state
        return self._generator

    def uniform(self, keys: NDArray[np.uint64], count: int) -> NDArray[np.float64]:
        """The first `count` numbers in [0, 1) of each sample, (samples, count)."""
        drawn = np.empty((len(keys), count))
        for row, key in enumerate(keys):
            self.of(key).random(out=drawn[row])
        return drawn
