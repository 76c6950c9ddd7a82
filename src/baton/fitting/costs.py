"""What a stage's training runs cost, for a program that compares them, and for MLflow.

Training runs -> the file of `contracts.training_costs`: seconds over all seeds, the largest peak of memory,
and the model's parameters.
"""

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from baton import storage
from baton.contracts import training_costs
from baton.fitting.seed_choice import Figures
from baton.runtime import memory


class Costs:
    """The costs so far."""

    def __init__(self, resumed: bool, reused: Mapping[str, training_costs.Costs]) -> None:
        """Start with nothing.

        Args:
            resumed: whether an earlier attempt has done a part of the work, whose seconds nobody knows.
            reused: what features cost that others computed, see `Job.reused`: what is compared with other
                ways to train costs what it would cost alone.
        """
        self.seconds = 0.0
        self.resumed, self.reused = resumed, reused

    @contextmanager
    def counted(self) -> Iterator[None]:
        """Count a training run, or what it needs."""
        since = time.monotonic()
        yield
        self.seconds += time.monotonic() - since

    def found(self, figures: Figures) -> training_costs.Costs:
        """Return the costs, with the sizes in `figures`; memory is the peak of the process."""
        others = [(own.seconds or 0.0, own.peak_memory_bytes or 0.0) for own in self.reused.values()]
        seconds = self.seconds + sum(own for own, _ in others)
        sizes = (int(figures[key]) for key in ("trained_parameters", "parameters"))
        peak = max([float(memory.highest()), *(own for _, own in others)])
        return training_costs.Costs(None if self.resumed else round(seconds, 3), peak, *sizes)

    def write(self, figures: Figures) -> dict[str, float]:
        """Write the costs, if the environment names a file; return them for MLflow."""
        found = self.found(figures)
        if path := os.environ.get(training_costs.VARIABLE):
            storage.write_json(Path(path), asdict(found))
        share = {"trained_share": figures["trained_parameters"] / figures["parameters"]}
        known = {"training_seconds": found.seconds, "training_peak_memory_bytes": found.peak_memory_bytes}
        return share | {key: value for key, value in known.items() if value is not None}
