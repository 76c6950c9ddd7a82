"""The seconds of the measurement of speed follow from a few of its rounds."""

from typing import Any

import pytest

from baton import params
from baton.estimate import speed_rounds

WANTED = params.Speed(
    repeats=5, precision=0.05, max_seconds=60.0, batch_size=8, samples=100, latency_samples=10
)


def timings(width: float) -> dict[str, Any]:
    """Two rounds that count, a second for each of two models; two rounds of ten rows, 0.1 s each."""
    model = {"samples_per_second": 100.0, "latency_p50_ms": 10.0}
    ratio = {"throughput": 2.0, "throughput_interval": (2.0 - width / 2, 2.0 + width / 2)}
    return {
        "models": {"teacher": model, "student": model},
        "rounds": 2,
        "ratios": {"student_vs_teacher": ratio},
        "seconds": 3 * 2.0 + 2 * 0.2 + 1.5,
    }


def test_a_steady_machine_takes_the_fewest_rounds() -> None:
    assert speed_rounds.seconds(timings(0.02), WANTED, 500) == pytest.approx(1.5 + 6 * 2.0 + 6 * 0.2)


def test_an_unsteady_one_takes_as_many_as_narrow_the_intervals() -> None:
    # The interval is three times too wide, so nine times as many rounds are needed.
    assert speed_rounds.needed(timings(0.6)["ratios"], 2, 0.05) == pytest.approx(18.0)
    assert speed_rounds.seconds(timings(0.6), WANTED, 500) == pytest.approx(1.5 + 19 * 2.0 + 6 * 0.2)


def test_it_ends_when_its_seconds_have_passed() -> None:
    endless = timings(0.6)
    endless["ratios"]["student_vs_teacher"]["throughput_interval"] = (0.0, float("inf"))
    assert speed_rounds.seconds(endless, WANTED, 500) == pytest.approx(1.5 + 31 * 2.0 + 6 * 0.2)


def test_few_rows_of_test_are_read_whole() -> None:
    found = speed_rounds.seconds(timings(0.02) | {"seconds": 0.0}, WANTED, 50)
    assert found == pytest.approx(6 * 1.0 + 6 * 0.2)


def test_nothing_is_measured_if_nothing_is_asked_for() -> None:
    assert speed_rounds.few(WANTED).repeats == 1 and speed_rounds.few(WANTED).max_seconds == 10.0
    assert speed_rounds.few(WANTED.model_copy(update={"repeats": 0})).repeats == 0
