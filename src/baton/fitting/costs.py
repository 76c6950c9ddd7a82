"""What a stage's training runs cost, for a program that compares them: no output of a stage has times.

`BATON_COSTS` in the environment names a JSON file: seconds of training over all seeds, the largest peak of
memory, and the model's parameters.
"""

import os
import time
from pathlib import Path

from baton import storage
from baton.fitting.seed_choice import Figures
from baton.runtime import memory

VARIABLE = "BATON_COSTS"


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
        if path := os.environ.get(VARIABLE):
            sizes = {key: figures[key] for key in ("parameters", "trained_parameters")}
            found = {"seconds": round(self.seconds, 3), "peak_memory_bytes": self.peak}
            storage.write_json(Path(path), found | sizes)
