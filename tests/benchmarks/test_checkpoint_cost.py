"""The checkpoint benchmark: its arithmetic, and that each side saves as its name says."""

from pathlib import Path

import pytest

from benchmarks import checkpoint_cost


def test_two_per_cent_of_two_minutes() -> None:
    """Three saves made 60 s of steps 7.2 s longer: 2.4 s each."""
    seconds = checkpoint_cost.cost(
        checkpoint_cost.Measured(67.2, 3, 0.1, 0), checkpoint_cost.Measured(60.0, 0, 0.0, 0)
    )
    assert seconds == pytest.approx(2.4)
    assert checkpoint_cost.share(seconds) == pytest.approx(0.02)


@pytest.mark.parametrize(
    "side",
    [
        pytest.param("none", marks=pytest.mark.slow),
        pytest.param("waited for", marks=pytest.mark.slow),
        "meanwhile",
    ],
)
def test_each_side_trains(side: str, tmp_path: Path) -> None:
    work = checkpoint_cost.Work(parameters=24 * 8 * 8, rows=4, every=60, saves=1, folder=tmp_path)
    found = checkpoint_cost.measure(work, side)
    assert found.seconds > 0 and (found.blocked > 0) is (found.saves > 0) is (side != "none")
    assert list(tmp_path.iterdir()) == []


def test_a_model_has_as_many_parameters_as_asked_for() -> None:
    model = checkpoint_cost.Layers(24 * 100 * 100)
    assert sum(parameter.numel() for parameter in model.parameters()) == 240_000


def test_the_table_calculates_with_the_size() -> None:
    none, saving = (
        checkpoint_cost.Measured(60.0, 0, 0.0, 10**9),
        checkpoint_cost.Measured(61.5, 3, 0.1, 3 * 10**9),
    )
    work = checkpoint_cost.Work(100, 4, 20, 3, Path())
    cells = checkpoint_cost.row("meanwhile", {"none": [none], "meanwhile": [saving]}, 60, work, 1000)
    assert cells[4] == "0.42%", "0.5 s of 120 s"
    assert cells[6] == "4.2%", "5 s of 120 s: ten times the bytes"
