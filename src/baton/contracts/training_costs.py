"""What the training runs of a stage cost: a stage writes it as JSON, a comparison of strategies reads it.

No output of a stage has times, since the same command would then never give the same bytes.
"""

from dataclasses import dataclass

VARIABLE = "BATON_COSTS"  # of the environment: the file to write


@dataclass(frozen=True)
class Costs:
    """What training took; None if it is not known. Fields are keys of the file."""

    seconds: float | None = None
    peak_memory_bytes: float | None = None
    trained_parameters: int | None = None
    parameters: int | None = None  # all of them
