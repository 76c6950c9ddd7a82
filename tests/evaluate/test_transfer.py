"""Transfer scores: differences and shares over seeds, against SciPy and by hand."""

import numpy as np
import pytest
from scipy import stats

from baton.errors import DataError
from baton.evaluate import transfer
from baton.evaluate.seeds import Mean

WITH, WITHOUT = [0.90, 0.88, 0.93], [0.80, 0.84, 0.79]


def test_the_gain_and_the_share_of_the_error_removed_are_paired_over_seeds() -> None:
    found = transfer.score(WITH, WITHOUT, 0.95)
    gains = np.subtract(WITH, WITHOUT)
    low, high = stats.t.interval(0.95, 2, gains.mean(), stats.sem(gains))
    assert (found.seeds, found.gain.mean) == (3, pytest.approx(gains.mean()))
    assert found.gain.interval == pytest.approx((low, high))
    assert found.gain.p == pytest.approx(stats.ttest_rel(WITH, WITHOUT).pvalue)
    shares = [0.10 / 0.20, 0.04 / 0.16, 0.14 / 0.21]  # of the errors without, by hand
    low, high = stats.t.interval(0.95, 2, np.mean(shares), stats.sem(shares))
    assert found.removed is not None and found.removed.mean == pytest.approx(np.mean(shares))
    assert found.removed.interval == pytest.approx((low, high))


def test_the_pairs_matter_and_the_order_of_seeds_does_not() -> None:
    found = transfer.score(WITH, WITHOUT, 0.95).gain
    assert transfer.score(WITH[::-1], WITHOUT[::-1], 0.95).gain.interval == pytest.approx(found.interval)
    crossed = transfer.score(WITH, WITHOUT[::-1], 0.95).gain
    assert crossed.mean == pytest.approx(found.mean)
    assert crossed.interval != pytest.approx(found.interval)


def test_a_source_that_hurts_has_a_negative_score() -> None:
    found = transfer.score(WITHOUT, WITH, 0.95)
    assert found.gain.mean == pytest.approx(-transfer.score(WITH, WITHOUT, 0.95).gain.mean)
    shares = [-0.10 / 0.10, -0.04 / 0.12, -0.14 / 0.07]
    assert found.removed is not None and found.removed.mean == pytest.approx(np.mean(shares))


def test_one_seed_has_no_interval_and_equal_differences_none_either() -> None:
    one = transfer.score([0.9], [0.8], 0.95)
    assert one.gain == Mean(pytest.approx(0.1)) and one.removed == Mean(pytest.approx(0.5))
    same = transfer.score([0.91, 0.93], [0.90, 0.92], 0.95)
    assert same.gain == Mean(pytest.approx(0.01))
    assert same.removed is not None and same.removed.interval is not None  # a tenth, then an eighth


def test_of_no_error_no_share_can_be_removed() -> None:
    found = transfer.score([1.0, 0.98], [1.0, 0.97], 0.95)
    assert found.removed is None and found.gain.mean == pytest.approx(0.005)


def test_scores_that_are_not_pairs_are_refused() -> None:
    with pytest.raises(DataError, match="2 with the source, 3 without"):
        transfer.score([0.9, 0.9], WITHOUT, 0.95)
    with pytest.raises(DataError, match="no seed"):
        transfer.score([], [], 0.95)
    with pytest.raises(DataError, match=r"from 0 to 1"):
        transfer.score([90.0], [80.0], 0.95)
