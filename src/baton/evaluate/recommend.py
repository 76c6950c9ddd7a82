"""Which of the trained models to use: the best on rows that none of them was fitted on; test takes no part in the choice.

Inputs: accuracies of teacher, student and baselines on validation, and where rows are few those that cross-validation on train gave ->
the recommended model. A baseline that does as well is recommended: it costs a fraction.
"""

from collections.abc import Mapping
from typing import Any

STUDENT, TEACHER = "student", "teacher"


def choose(validation: Mapping[str, float], left_out: Mapping[str, float], rows: int, folds: int | None) -> dict[str, Any]:
    """The section `recommended` of metrics.json.

    Args:
        validation: accuracy on validation of teacher, student and every baseline.
        left_out: of the teacher and every baseline, accuracy on the rows of train that cross-validation left out; empty where it did not
            take place. The student, which cannot be cross-validated without its teacher, is then taken to be as far from the teacher as
            it is on validation.
        rows: what the accuracies are of.
        folds: of cross-validation, None without.

    Returns:
        `model`, `scores` (model -> accuracy), `rows`, `folds` (absent without). Of equals a baseline comes first, then the student.
    """
    scores = {name: value for name, value in validation.items() if name not in (STUDENT, TEACHER)}
    scores |= {name: validation[name] for name in (STUDENT, TEACHER)}
    if left_out:
        scores |= left_out
        scores[STUDENT] = left_out[TEACHER] + validation[STUDENT] - validation[TEACHER]
    model = max(scores, key=lambda name: round(scores[name], 9))
    return {"model": model, "scores": scores, "rows": rows} | ({"folds": folds} if left_out else {})


def said(section: Mapping[str, Any]) -> str:
    """In a sentence."""
    model, scores = section["model"], section["scores"]
    others = ", ".join(f"{name} {100 * value:.1f}%" for name, value in sorted(scores.items(), key=lambda item: -item[1]) if name != model)
    how = f"{section['folds']}-fold cross-validation on {section['rows']:,} rows of train" if "folds" in section else ""
    how = how or f"validation, {section['rows']:,} rows"
    return f"Recommended: [bold]{model}[/], by {how} ({100 * scores[model]:.1f}%; {others}). Test took no part in this choice."
