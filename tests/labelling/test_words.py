"""What is said of a curve, and a figure whose bytes do not vary."""

from pathlib import Path

import pytest

from baton.labelling import growth, report, words
from baton.labelling.words import Measured
from tests import tiny
from tests.labelling.made_up import simulated


def measured(seed: int = 0, **changes: float) -> Measured:
    found = growth.grow(simulated(seed, **changes), [400, 5000], 0.95, 0)  # type: ignore[arg-type]
    return Measured("probe", "a probe", "validation", 1000, 5, tiny.ACCURACY, found)


def of(verdict: growth.Verdict) -> Measured:
    changes = {
        "grows": {"noise": 0.15},
        "flat": {"scale": 0.0, "noise": 0.02, "rows": 8000},
        "noisy": {"scale": 0.3, "noise": 1.0, "rows": 60},
        "unpredicted": {"noise": 0.05, "floor_of_last": 0.03},
    }[verdict]
    for seed in range(20):
        own = measured(seed, **changes)
        if own.found.verdict == verdict:
            return own
    raise AssertionError(f"no simulated curve is {verdict}")


def test_a_gain_is_said_with_its_interval() -> None:
    own = of("grows")
    fall = own.found.gains[0].fall
    assert fall is not None
    said = words.sentences(own)
    low, high = (f"{100 * end:.1f}" for end in (fall.low, fall.high))
    assert f"+400 labels: +{100 * fall.value:.1f} points ({low} to {high})" in said
    assert said[-1].startswith("+5,000 labels: too far")
    assert "Back-test: the points up to 500 labels predicted" in said[1]


@pytest.mark.parametrize(
    ("verdict", "part"), [("flat", "is flat"), ("noisy", "too noisy"), ("unpredicted", "No forecast")]
)
def test_otherwise_there_is_no_number(verdict: growth.Verdict, part: str) -> None:
    own = of(verdict)
    assert part in words.sentences(own)[-1]
    assert not any(sentence.startswith("+") for sentence in words.sentences(own))
    assert report.described(own)["gains"] == []


def test_the_figure_has_the_same_bytes_each_time(tmp_path: Path) -> None:
    curves = [measured(0), measured(1)]
    for name in ("one.png", "two.png"):
        report.draw(tmp_path / name, curves)
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
