"""Figures over seeds: a published paired t-test and closed forms.

The sentences claim no more than the tests show.
"""

import math
from pathlib import Path

import numpy as np
import pytest

from baton import storage
from baton.errors import DataError
from baton.evaluate import seeds
from tests import tiny

# Student 1908, "The probable error of a mean", Biometrika 6, p. 20: additional hours of sleep of ten patients
# with two drugs.
FIRST = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0]
FIGURES = ("accuracy", "macro_f1", "log_loss")
SECOND = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]


def of(*accuracies: float) -> list[dict[str, float]]:
    return [{"accuracy": value, "macro_f1": value / 2, "log_loss": 1 - value} for value in accuracies]


def test_students_own_data() -> None:
    """t = 4.0621 with 9 degrees of freedom, p = 0.002833, mean difference 1.58, 95% interval 0.70 to 2.46.

    These are the values of R: t.test(paired = TRUE).
    """
    found = seeds.paired(of(*SECOND), of(*FIRST), FIGURES, 0.95)
    assert found["seeds"] == 10
    assert found["accuracy_difference"] == pytest.approx(1.58)
    assert found["accuracy_difference_deviation"] == pytest.approx(1.229995, abs=1e-6)
    assert found["accuracy_difference_interval"] == pytest.approx([0.7001142, 2.4598858], abs=1e-6)
    # Unpaired it would be 0.07919 (Welch: 0.07939).
    assert found["accuracy_p"] == pytest.approx(0.002833, abs=1e-6)
    assert found["macro_f1_p"] == pytest.approx(found["accuracy_p"])
    assert found["log_loss_difference"] == pytest.approx(-1.58)


@pytest.mark.parametrize("differences", [(0.01, 0.03), (0.004, 0.001)])
def test_two_seeds_in_closed_form(differences: tuple[float, float]) -> None:
    """With one degree of freedom the distribution is Cauchy's.

    p = 1 - 2 / pi * atan(t), and the quantile at 0.975 is tan(0.475 pi).
    """
    mean, deviation = sum(differences) / 2, abs(differences[0] - differences[1]) / math.sqrt(2)
    t = mean / (deviation / math.sqrt(2))
    found = seeds.paired(of(*(0.5 + value for value in differences)), of(0.5, 0.5), FIGURES, 0.95)
    assert found["accuracy_p"] == pytest.approx(1 - 2 / math.pi * math.atan(t))
    half = math.tan(0.475 * math.pi) * deviation / math.sqrt(2)
    assert found["accuracy_difference_interval"] == pytest.approx([mean - half, mean + half])


def test_differences_without_spread_are_not_tested() -> None:
    """Both students have one row of a hundred more right, which proves nothing."""
    found = seeds.paired(of(0.91, 0.93), of(0.90, 0.92), FIGURES, 0.95)
    assert found["accuracy_difference"] == pytest.approx(0.01)
    assert "accuracy_p" not in found and "accuracy_difference_interval" not in found


def test_errors_in_a_small_unit_are_tested_as_in_a_large_one() -> None:
    """Metres or picometres: p does not depend on the unit."""
    values = ([0.91, 0.95, 0.90], [0.97, 0.99, 0.98])
    p = []
    for unit in (1.0, 1e-12):
        one, other = ([{"mae": unit * value} for value in own] for own in values)
        p.append(seeds.paired(one, other, ["mae"], 0.95)["mae_p"])
    assert p[0] == pytest.approx(p[1])


def plain(text: str) -> str:
    return text.replace("[bold]", "").replace("[/]", "")


def section(student: list[float], control: list[float]) -> dict[str, object]:
    trained = {name: seeds.Seeds(1, tuple(range(1, 1 + len(student)))) for name in ("student", "control")} | {
        "teacher": seeds.Seeds(4, (4,))
    }
    test = {
        name: dict(enumerate(of(*values), 1)) for name, values in (("student", student), ("control", control))
    }
    return seeds.figures(trained, test | {"teacher": {4: of(0.95)[0]}}, FIGURES, 0.95)


def test_mean_and_deviation_of_every_model() -> None:
    found = section([0.8, 0.9, 0.91], [0.7, 0.8, 0.75])
    assert found["student"]["accuracy_mean"] == pytest.approx(0.87)
    assert found["student"]["accuracy_deviation"] == pytest.approx(
        math.sqrt((0.07**2 + 0.03**2 + 0.04**2) / 2)
    )
    assert found["student"]["all"] == [1, 2, 3] and found["student"]["accuracy"] == [0.8, 0.9, 0.91]
    assert found["teacher"]["accuracy_mean"] == 0.95 and "accuracy_deviation" not in found["teacher"]


@pytest.mark.parametrize(
    ("student", "control", "verdict"),
    [
        ([0.90, 0.91, 0.92], [0.80, 0.80, 0.83], "Distillation helps"),
        ([0.80, 0.80, 0.83], [0.90, 0.91, 0.92], "Distillation hurts"),
        ([0.90, 0.91, 0.92], [0.80, 0.93, 0.92], "It is not clear whether distillation helps over 3 seeds"),
        ([0.91, 0.92, 0.93], [0.90, 0.91, 0.92], "It is not clear whether distillation helps over 3 seeds"),
    ],
)
def test_the_method_is_judged_over_seeds(student: list[float], control: list[float], verdict: str) -> None:
    first, second = seeds.said(section(student, control), tiny.ACCURACY, 0.95)
    assert verdict in plain(first) and "over 3 seeds" in first
    assert second.startswith("Accuracy over seeds, mean ± deviation: student ") and "teacher" not in second


def test_other_figures_tell_them_apart_where_the_main_one_does_not() -> None:
    """On Reuters R52 a student had its control's accuracy, and a macro F1 nine points below."""
    figures = ("accuracy", "macro_f1", "log_loss")
    pairs = [(0.953, 0.726, 0.20), (0.955, 0.731, 0.21), (0.954, 0.722, 0.20)]
    controls = [(0.955, 0.816, 0.20), (0.954, 0.820, 0.20), (0.953, 0.813, 0.21)]
    first, second = ([dict(zip(figures, own, strict=True)) for own in rows] for rows in (pairs, controls))
    found = {name: {"all": [0, 1, 2], "chosen": 0} for name in ("teacher", "student", "control")}
    compared = seeds.paired(first, second, figures, 0.95)
    said = plain(seeds.said(found | {"comparison": {"student_vs_control": compared}}, tiny.ACCURACY, 0.95)[0])
    assert said.startswith("Distillation hurts in macro F1 (−9.0 points, p")
    assert "over 3 seeds; in accuracy it is not clear (" in said
    assert "log loss" not in said
    level = compared | {"macro_f1_p": 0.04, "log_loss_p": 0.9}
    said = seeds.said(found | {"comparison": {"student_vs_control": level}}, tiny.ACCURACY, 0.95)[0]
    assert "It is not clear" in said, "control: adjusted for two figures, 0.04 is not enough"


def test_of_one_seed_nothing_is_said() -> None:
    """However different the two are."""
    found = section([0.99], [0.5])
    assert seeds.said(found, tiny.ACCURACY, 0.95) == []
    assert "comparison" not in found


def test_the_interval_of_one_mean() -> None:
    """R: t.test(c(0.7, -1.6, …)) gives -0.5297804 to 2.0297804 and p = 0.2175978."""
    tested = seeds.student(np.array(FIRST), 0.95)
    assert tested.interval == pytest.approx([-0.5297804, 2.0297804], abs=1e-6)
    assert tested.p == pytest.approx(0.2175978, abs=1e-6)
    assert seeds.student(np.array([0.3]), 0.95).interval is None
    rounded = seeds.student(np.array([0.1 + 0.2, 0.3, 0.3]), 0.95)
    assert rounded.interval is None, "they differ by rounding alone"


def test_a_file_of_another_version_is_named(tmp_path: Path) -> None:
    path = tmp_path / "finetune.json"
    with pytest.raises(DataError, match=r"finetune\.json cannot be read"):
        seeds.read([path])
    storage.write_json(path, {"teacher": {"val_accuracy": 0.9}})
    with pytest.raises(DataError, match="the seed that is used"):
        seeds.read([path])
    storage.write_json(path, {"teacher": {"seed": 10}, "seeds": {"10": {}, "9": {}}})
    assert seeds.read([path]) == {"teacher": seeds.Seeds(10, (9, 10))}
