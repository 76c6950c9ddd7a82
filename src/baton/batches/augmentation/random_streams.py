"""Random numbers of each sample: a pure function of (seed, epoch, sample id).

Each sample has its own counter-based generator (Philox: Salmon et al. 2011), whose key is the digest of the
sample's id and the seed, and whose counter starts at the epoch: a sample's numbers do not depend on order,
batch, worker or rank.
"""

import hashlib
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray


def keys(ids: Iterable[str]) -> NDArray[np.uint64]:
    """Return a number for each sample id: the first 8 bytes of its sha256."""
    digests = b"".join(hashlib.sha256(name.encode()).digest()[:8] for name in ids)
    return np.frombuffer(digests, dtype="<u8").astype(np.uint64)


class Generators:
    """The generators of all samples in one epoch; `stream` distinguishes those of the same sample."""

    def __init__(self, seed: int, epoch: int, stream: int) -> None:
        """`seed` is that of the training run; `epoch` counts from 0."""
        self._seed, self._counter = seed, (0, epoch, stream, 0)  # the first element counts the numbers drawn
        self._bits = np.random.Philox(0)
        self._state: Any = self._bits.state
        self._generator = np.random.Generator(self._bits)

    def of(self, key: np.uint64) -> np.random.Generator:
        """Return a sample's generator in its initial state, valid until the next call.

        Setting the state of one generator is cheaper than creating another.
        """
        self._state["state"]["key"][:] = key, self._seed
        self._state["state"]["counter"][:] = self._counter
        self._state["buffer_pos"], self._state["has_uint32"] = 4, 0  # discard the last sample's buffer
        self._bits.state = self._state
        return self._generator

    def uniform(self, keys: NDArray[np.uint64], count: int) -> NDArray[np.float64]:
        """Return the first `count` numbers in [0, 1) of each sample, (samples, count)."""
        drawn = np.empty((len(keys), count))
        for row, key in enumerate(keys):
            self.of(key).random(out=drawn[row])
        return drawn
