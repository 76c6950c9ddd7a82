"""Plots for few and many classes and unusual names.

The bytes are reproducible, whatever the user's own matplotlib settings are.
"""

from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from baton.evaluate import calibration
from baton.evaluate.calibration import Calibration, reliability
from baton.evaluate.inputs import Curve
from baton.evaluate.report import class_plots, class_tables, csv_files, plots
from baton.tasks import temperature
from tests import tiny

ODD = ["$x_1$ and $", "a very long name of a class that does not fit", "日本語", "", "x\ty"]


def calibrated(labels: NDArray[np.int64], log_p: NDArray[np.float64], bins: int) -> Calibration:
    both = [
        (labels, log_p.argmax(1), probabilities, bins)
        for probabilities in (log_p, temperature.scale(log_p, 2.0))
    ]
    return Calibration(
        2.0, *(reliability(*one) for one in both), *(calibration.error(*one, 0.95) for one in both)
    )


def draw_all(folder: Path, classes: int, names: list[str] | None = None) -> list[Path]:
    generator = np.random.default_rng(0)
    names = names or [f"class {k}" for k in range(classes)]
    labels = generator.integers(0, classes, 300)
    predicted = np.where(generator.random(300) < 0.8, labels, generator.integers(0, classes, 300))
    log_p = np.log(generator.dirichlet(np.ones(classes), 300))
    class_plots.confusion(
        folder / "confusion.png", "student", names, class_tables.confusion(labels, predicted, classes)
    )
    one = calibrated(labels, log_p, 15)
    class_plots.reliability(folder / "reliability.png", {"teacher": one, "tfidf_svm": one})
    f1 = np.where(np.arange(classes) == 1, np.nan, 0.9)
    class_plots.per_class_f1(
        folder / "f1.png",
        names,
        {name: (f1, np.stack([f1 - 0.02, f1 + 0.02])) for name in ("teacher", "student")},
    )
    curve = Curve(
        {"epoch": [0.1, 0.2, 0.3], "loss": [3.0, 2.0, 1.0]},
        {"epoch": [0.3], "val_loss": [1.0], "val_accuracy": [0.7], "val_macro_f1": [0.6]},
    )
    plots.learning_curves(
        folder / "curves.png",
        {"teacher": curve, "student": Curve(curve.training, {name: [] for name in curve.validation})},
        ("accuracy", "macro_f1"),
    )
    speed = {
        "samples_per_second": 10.0,
        "accuracy": 0.9,
        "accuracy_interval": [0.88, 0.92],
        "parameters": 1000,
    }
    plots.speed_accuracy(
        folder / "speed.png",
        {"teacher": speed, "student": speed | {"samples_per_second": 20.0}},
        tiny.ACCURACY,
    )
    return sorted(folder.glob("*.png"))


def test_of_classes_that_are_never_found_those_with_most_rows_come_first() -> None:
    values = np.array([0.0, 0.5, 0.0, np.nan, 0.0])
    upper = np.array([0.9, 0.6, 0.3, np.nan, 0.6])
    assert class_plots.hardest(values, np.stack([np.zeros(5), upper])).tolist() == [2, 4, 0, 1, 3]


@pytest.mark.parametrize(("classes", "names"), [(2, None), (5, ODD), (70, None)])
def test_every_figure_is_a_picture_of_a_sensible_size(
    tmp_path: Path, classes: int, names: list[str] | None
) -> None:
    paths = draw_all(tmp_path, classes, names)
    assert len(paths) == 5
    for path in paths:
        with Image.open(path) as picture:
            picture.load()
            assert 300 < picture.width < 2500
            assert 200 < picture.height < 3000
            assert len(picture.convert("L").getcolors()) > 5  # something is drawn
            assert not {"Software", "Creation Time"} & set(picture.info)


def test_the_same_bytes_whatever_the_users_settings(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    first = draw_all(tmp_path / "a", 5)
    with mpl.rc_context({"font.size": 20, "axes.facecolor": "red", "savefig.transparent": True}):
        second = draw_all(tmp_path / "b", 5)
        assert mpl.rcParams["font.size"] == 20  # the user's settings are unchanged
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]


def test_other_values_other_bytes(tmp_path: Path) -> None:
    for name, right in (("a", 9), ("b", 8)):
        class_plots.confusion(tmp_path / f"{name}.png", "m", ["x", "y"], np.array([[right, 1], [0, 5]]))
    assert (tmp_path / "a.png").read_bytes() != (tmp_path / "b.png").read_bytes()


def test_a_classifier_that_is_always_sure_can_be_drawn(tmp_path: Path) -> None:
    log_p = np.array([[0.0, -30.0]] * 4)
    class_plots.reliability(tmp_path / "r.png", {"m": calibrated(np.array([0, 0, 1, 0]), log_p, 10)})
    assert (tmp_path / "r.png").stat().st_size > 1000


def test_confusion_counts() -> None:
    counts = class_tables.confusion(np.array([0, 0, 1, 2]), np.array([0, 1, 1, 0]), 3)
    assert counts.tolist() == [[1, 1, 0], [0, 1, 0], [1, 0, 0]]


def test_csv_cells(tmp_path: Path) -> None:
    csv_files.write_csv(tmp_path / "t.csv", ["a", "b"], [[0.123456789, float("nan")], [2.0, 'say "x", y\nz']])
    assert (tmp_path / "t.csv").read_bytes() == b'a,b\n0.123457,\n2,"say ""x"", y\nz"\n'
