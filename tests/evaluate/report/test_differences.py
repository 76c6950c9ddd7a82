"""What is said of two models: never that they do not differ, if they do in some figure."""

import itertools
from typing import Any

import pytest

from baton.evaluate.report import differences
from baton.evaluate.report.html import known, verdict
from baton.tasks.figure_scale import Scale

MAIN = Scale("accuracy", 1, True)


def metrics(
    accuracy: tuple[float, float] = (0.001, 0.8),
    macro_f1: tuple[float, float, float] = (0.002, -0.01, 0.014),
    log_loss: tuple[float, float] = (0.001, 0.7),
    pair: str = "student_vs_teacher",
) -> dict[str, Any]:
    """Return metrics.json with one comparison: (value, p), of macro F1 (value, low, high)."""
    value, p = accuracy
    own = {
        "accuracy_difference": value,
        "accuracy_difference_interval": [value - 0.01, value + 0.01],
        "holm_interval": [value - 0.02, value + 0.02],
        "holm_p": p,
        "mcnemar_p": p / 4,
        "excluded": 0.021,
        "macro_f1_difference": macro_f1[0],
        "macro_f1_difference_interval": list(macro_f1[1:]),
        "log_loss_scaled_difference": log_loss[0],
        "log_loss_scaled_difference_interval": [log_loss[0] - 0.1, log_loss[0] + 0.1],
        "log_loss_scaled_p": log_loss[1] / 2,
        "log_loss_scaled_holm_p": log_loss[1],
    }
    model = {"accuracy": 0.9, "parameters": 9, "bytes": 9}
    return {
        "comparison": {pair: own},
        "seeds": {},
        "test": {"confidence": 0.95, "strongest_baseline": None, "rows": 9},
        "teacher": model,
        "student": model,
        "recommended": {"model": "student", "rows": 9, "scores": {"student": 0.9, "teacher": 0.9}},
    }


def told(**changes: Any) -> str:
    own = metrics(**changes)
    return known.Known(own, {}, MAIN, differences.read(own, MAIN, "mcnemar_p")).said("student", "teacher")


def test_without_a_difference_the_figures_are_named() -> None:
    said = told()
    assert said.startswith(
        "The student and the teacher do not differ significantly in accuracy, log loss or macro F1."
    )
    assert "A difference of more than 2.1 points in accuracy is excluded." in said


SHOWN = {
    "accuracy": ("accuracy", (-0.05, 0.001)),
    "macro F1": ("macro_f1", (-0.05, -0.09, -0.01)),
    "log loss": ("log_loss", (0.4, 0.001)),
}


@pytest.mark.parametrize(
    "figures", [some for size in (1, 2, 3) for some in itertools.combinations(SHOWN, size)]
)
def test_a_difference_in_any_figure_is_named(figures: tuple[str, ...]) -> None:
    said = told(**dict(SHOWN[figure] for figure in figures))
    assert said.startswith("The student is worse in ")
    assert "do not differ" not in said
    worse = said.split(" than the teacher")[0]
    for figure in SHOWN:
        assert (figure in worse) == (figure in figures)


def test_better_and_worse_are_said_of_each_figure() -> None:
    said = told(accuracy=(0.05, 0.001), log_loss=(0.4, 0.001))
    assert said == (
        "The student is better in accuracy (+5.0 points, +3.0 to +7.0) and worse in log loss "
        "(+0.4, +0.3 to +0.5) than the teacher. In macro F1 no difference is shown."
    )


def test_a_difference_of_unclear_size_is_said_to_be_one() -> None:
    """Holm's method may find a difference whose interval, at Bonferroni's level, reaches 0."""
    said = told(accuracy=(-0.015, 0.03))
    assert "worse in accuracy (−1.5 points, −3.5 to +0.5; it is not clear by how much)" in said


def test_a_test_that_only_the_adjustment_changes_is_mentioned() -> None:
    said = told(accuracy=(0.01, 0.08))
    assert "As the only comparison of the page it would be significant in accuracy (p = 0.02)." in said
    assert "As the only" not in told()


def answer(**changes: Any) -> str:
    own = metrics(**changes)
    about = known.Known(own, {}, MAIN, differences.read(own, MAIN, "mcnemar_p"))
    return next(point.answer for point in verdict.points(about) if "shipped" in point.question)


def test_the_student_may_be_shipped_only_if_a_loss_is_excluded() -> None:
    assert answer().startswith("Yes, in place of the teacher")  # at worst 1.9 points
    assert answer(accuracy=(-0.002, 0.8)).startswith("Not settled")  # at worst 2.2 points
    assert answer(log_loss=(0.4, 0.001)).startswith("Not without a loss")
    assert answer(accuracy=(0.05, 0.001), log_loss=(0.4, 0.001)).startswith("It depends")


def test_a_chosen_seed_is_not_compared_with_its_control() -> None:
    own = metrics(pair="student_vs_control")
    assert len(differences.read(own, MAIN, "mcnemar_p")) == 3
    own["seeds"]["comparison"] = {}
    assert differences.read(own, MAIN, "mcnemar_p") == []


def test_the_sign_of_a_small_difference_is_kept() -> None:
    assert differences.signed(MAIN, -0.0004) == "−0.04"
    assert differences.signed(MAIN, -0.012) == "−1.2"
    assert differences.signed(Scale("log_loss", -1, False), -0.00123) == "−0.0012"
