"""Values fitted on validation after a model's training run, `fitted` in baton.json, such as a temperature.

Input: the content of a baton.json or of a journal's entry -> the values by name. Which there are is the
task's choice (`tasks.task_figures`); without any, a model answers as trained. Served models carry this
module.
"""

from collections.abc import Mapping
from typing import Any

KEY = "fitted"


def read(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fitted values; earlier versions wrote a temperature beside the other keys.

    Raises:
        KeyError: there are none.
    """
    return dict(raw[KEY]) if KEY in raw else {"temperature": raw["temperature"]}
