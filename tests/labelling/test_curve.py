"""Probes are measured on rows that they have not seen, on growing parts of the others."""

import numpy as np
import pytest

from baton.labelling import curve, probes


def labelled(rows: int = 75, noise: float = 1.0, tell: bool = True) -> probes.Labelled:
    draw = np.random.default_rng(0)
    labels = draw.permutation(np.arange(rows) % 3)
    centres = draw.normal(size=(3, 20)) * tell
    features = (centres[labels] + noise * draw.normal(size=(rows, 20))).astype(np.float32)
    return probes.Labelled(features, labels, np.arange(rows), None, 3, False)


def test_more_labels_make_fewer_errors() -> None:
    rows, done = labelled(noise=3.0), []
    found = curve.probed(rows, "accuracy", 2, 20, 0, done.append)
    assert found.labels == (11, 15, 21, 30, 42, 60) and (found.pool, found.models) == (75, 5)
    assert found.errors.shape == (6, 2) and found.resampled.shape == (20, 6, 2)
    mean = found.errors.mean(axis=1)
    assert mean[-1] < mean[0] - 0.1
    assert sum(done) == curve.work(rows, 2, 0)


@pytest.mark.parametrize("peeking", [False, True])
def test_no_probe_has_seen_what_it_is_measured_on(monkeypatch: pytest.MonkeyPatch, peeking: bool) -> None:
    """Features say nothing of labels. The control is measured on the rows that it was fitted on."""
    if peeking:
        monkeypatch.setattr(
            curve, "_folds", lambda rows, seed: [(own, own) for own in [np.arange(len(rows.labels))]]
        )
        rows = labelled(60, tell=False)
    else:
        rows = labelled(tell=False)
    errors = curve.probed(rows, "accuracy", 1, 2, 0).errors[-1, 0]
    assert errors < 0.3 if peeking else errors > 0.5


def test_rows_of_one_unit_are_not_parted() -> None:
    """Each label is that of a pair of equal rows, at random: beside its twin, a row would be known."""
    draw = np.random.default_rng(1)
    labels = np.repeat(draw.integers(0, 2, 40), 2)
    features = np.repeat(draw.normal(size=(40, 200)), 2, axis=0).astype(np.float32)
    together = probes.Labelled(features, labels, np.repeat(np.arange(40), 2), None, 2, False)
    parted = probes.Labelled(features, labels, np.arange(80), None, 2, False)
    assert curve.probed(together, "accuracy", 1, 2, 0).errors[-1, 0] > 0.35
    assert curve.probed(parted, "accuracy", 1, 2, 0).errors[-1, 0] < 0.25


def test_macro_f1_is_another_curve() -> None:
    rows = labelled(noise=2.0)
    one, other = (curve.probed(rows, figure, 1, 2, 0).errors for figure in ("accuracy", "macro_f1"))
    assert (one != other).any()
    assert one == pytest.approx(other, abs=0.1)


def test_resampled_errors_vary_around_those_of_all_rows() -> None:
    found = curve.probed(labelled(noise=2.0), "accuracy", 1, 200, 0)
    assert found.resampled.mean(axis=0) == pytest.approx(found.errors, abs=0.02)
    expected = np.sqrt(found.errors * (1 - found.errors) / 75)
    assert found.resampled.std(axis=0) == pytest.approx(expected, rel=0.2)
