"""A head that is fitted on one rank is the same on all of them."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch.distributed as dist

from baton.fitting import strategies
from baton.train import probe


@pytest.fixture
def group() -> Iterator[None]:
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_a_fitted_head_is_exchanged(group: None, kind: type) -> None:
    """It was refused as no plain value, so that every fitted head failed with several processes."""
    made = probe.Probe(np.eye(3, 4, dtype=kind), np.arange(3, dtype=kind), 0.1)
    found = strategies._once(lambda: made)
    assert found.strength == made.strength
    for own, other in ((found.weight, made.weight), (found.bias, made.bias)):
        assert own.dtype == kind and np.array_equal(own, other)
