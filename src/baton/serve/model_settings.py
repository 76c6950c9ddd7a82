"""The settings in a model_config that are no limits. Without torch."""

from collections.abc import Mapping
from typing import Any

PRECISION = "precision"  # of an encoder that torch computes: see `precision`


def limits(config: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the limits in a model_config; models of earlier versions have nothing else."""
    return {name: value for name, value in (config or {}).items() if name != PRECISION}
