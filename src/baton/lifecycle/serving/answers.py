"""What a server answers: MLflow's `predictions`, and beside them which model it was and how to read them.

{"predictions": [{"label": "grain", "probability_grain": 0.97, …, "abstains": false}],
 "model": {"name": "reuters-r8-minilm", "version": "3", "sha256": "…"},
 "temperature": 1.12, "abstain_below": 0.8}
"""

import json
from collections.abc import Mapping
from typing import Any

PROBABILITY = "probability_"  # how the columns of probabilities begin
ABSTAIN = "abstain_below"


def about(fitted: Mapping[str, Any], known: Mapping[str, Any]) -> dict[str, Any]:
    """Return what every answer says.

    Args:
        fitted: what was fitted on validation.
        known: `model` with name, version and digest, and `abstain_below`, the probability of the answer
            below which a row's `abstains` is true.
    """
    temperature = {name: fitted[name] for name in ("temperature",) if name in fitted}
    return (
        {name: known[name] for name in ("model",) if name in known}
        | temperature
        | {name: known[name] for name in (ABSTAIN,) if known.get(name) is not None}
    )


def written(predictions: list[Any], said: Mapping[str, Any], several: bool = False) -> str:
    """Return the body of an answer; `several`: whether a row may have several labels, or none."""
    least = said.get(ABSTAIN)
    rows = predictions if least is None else [_judged(row, least, several) for row in predictions]
    return json.dumps({"predictions": rows} | dict(said))


def _judged(row: Any, least: float, several: bool) -> Any:
    """Return a row with `abstains`, if it has probabilities: of each label, that it is there or not."""
    if not isinstance(row, dict):
        return row
    found = [value for name, value in row.items() if name.startswith(PROBABILITY)]
    sure = min((max(value, 1 - value) for value in found), default=0) if several else max(found, default=0)
    return row | {"abstains": sure < least} if found else row
