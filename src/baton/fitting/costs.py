"""What a stage's training runs cost, for a program that compares them.

Training runs -> the file of `contracts.training_costs`: seconds over all seeds, the largest peak of memory,
and the model's parameters.
"""

import os
import time
from dataclasses import asdict
from pathlib import Path

from baton import storage
from baton.contracts import training_costs
from baton.fitting.seed_choice import Figures
from baton.runtime import memory


class Costs:
    """The costs so far; seconds of an interrupted attempt do not count."""

    def __init__(self) -> None:
        """Start the clock and reset the peak of memory."""
        self.seconds, self.peak = 0.0, 0
        self.start()

    def start(self) -> None:
        """Start a training run."""
        memory.reset_peak()
        self._since = time.monotonic()

    def add(self, reused: list[float]) -> None:
        """Add the training run since `start`, and the seconds of features that it used again."""
        self.seconds += time.monotonic() - self._since + sum(reused)
        reused.clear()
        self.peak = max(self.peak, memory.peak_memory())

    def write(self, figures: Figures) -> None:
        """Write the costs and the sizes in `figures`, if the environment names a file."""
        if path := os.environ.get(training_costs.VARIABLE):
            sizes = (int(figures[key]) for key in ("trained_parameters", "parameters"))
            found = training_costs.Costs(round(self.seconds, 3), self.peak, *sizes)
            storage.write_json(Path(path), asdict(found))
