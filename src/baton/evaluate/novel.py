"""Few-shot figures on classes that were held out: the section `episodes` of metrics.json, and a sentence.

Inputs: metrics/finetune.json, as the `finetune` stage wrote it, and `finetune.episodes`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from baton import params, storage
from baton.contracts import novel_classes
from baton.evaluate.report.wording import percent


def figures(trained: Path, wanted: params.Episodes | None) -> dict[str, Any]:
    """Return the form of the episodes and, by split, the mean accuracy of the chosen seed and its interval.

    It is empty if no episodes are asked for or no class is held out.
    """
    own = storage.read_json(trained)["teacher"]
    found = {
        key: {"accuracy": own[f"episodes_{key}"], "half_width": own[f"episodes_{key}_half_width"]}
        for key in novel_classes.SPLITS
        if f"episodes_{key}" in own
    }
    if wanted is None or not found:
        return {}
    return {"way": wanted.way, "shots": wanted.shots, "count": wanted.count, **found}


def said(section: Mapping[str, Any]) -> str:
    """Return a sentence on the accuracy on held-out classes."""
    shown = [
        f"{percent(own['accuracy'])} ± {percent(own['half_width'])} on {key} classes"
        for key in ("test", "validation")
        if (own := section.get(key))
    ]
    return (
        f"On classes that training never saw, the teacher's features classify {section['way']}-way "
        f"{section['shots']}-shot episodes with an accuracy of {' and '.join(shown)} "
        f"({section['count']:,} episodes each)."
    )
