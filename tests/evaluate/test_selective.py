"""Risk against coverage, and thresholds at a wanted precision, against direct counts."""

import numpy as np
import pytest
from scipy.stats import binomtest

from baton.contracts.task_spec import Classes
from baton.evaluate import selective
from baton.evaluate.baselines import Outputs
from baton.evaluate.class_reports import ClassReports
from baton.evaluate.selective import Claims


def made(count: int, seed: int) -> Claims:
    """Return claims, many of them equally probable, that are right as often as their probability says."""
    draw = np.random.default_rng(seed)
    sure = draw.uniform(0.3, 1, count).round(2)
    return Claims(sure, draw.random(count) < sure, draw.integers(0, 3, count))


def test_risks_are_shares_of_the_surest() -> None:
    claims = made(400, 0)
    rows = selective.risks("m", claims, 0.9)
    assert 2 < len(rows) <= selective.POINTS
    for model, coverage, risk, low, high, threshold in rows:
        kept = claims.sure >= threshold
        expected = binomtest(int((~claims.right[kept]).sum()), int(kept.sum())).proportion_ci(0.9, "wilson")
        assert model == "m"
        assert coverage == kept.mean()
        assert risk == pytest.approx((~claims.right[kept]).mean())
        assert (low, high) == pytest.approx((expected.low, expected.high), abs=1e-9)
    assert rows[-1][1] == 1, "all claims are the last point"


@pytest.mark.parametrize("wanted", [0.5, 0.7, 0.9])
def test_a_threshold_is_the_lowest_that_reaches_the_precision(wanted: float) -> None:
    claims = made(300, 1)
    found = selective.threshold(claims, wanted)
    precise = {t: claims.right[claims.sure >= t].mean() for t in np.unique(claims.sure)}
    assert found == min(t for t, precision in precise.items() if precision >= wanted)


def test_no_threshold_without_enough_claims_or_precision() -> None:
    wrong = Claims(np.linspace(0.5, 1, 30), np.zeros(30, bool))
    assert selective.threshold(wrong, 0.9) is None
    few = selective.FEWEST - 1
    assert selective.threshold(Claims(np.ones(few), np.ones(few, bool)), 0.9) is None
    assert selective.threshold(Claims(np.ones(few + 1), np.ones(few + 1, bool)), 0.9) == 1


def test_thresholds_are_chosen_on_validation_and_judged_on_test() -> None:
    val, test = made(300, 2), made(500, 3)
    rows = [
        dict(zip(selective.THRESHOLDS, row, strict=True))
        for row in selective.thresholds("m", ["a", "b", "never"], val, test, 0.95)
    ]
    assert [row["wanted"] for row in rows if not row["name"]] == list(selective.WANTED)
    for row in rows:
        of = (
            (val, test)
            if not row["name"]
            else (val.of(place := ["a", "b", "never"].index(str(row["name"]))), test.of(place))
        )
        if row["threshold"] == "":
            assert selective.threshold(of[0], row["wanted"]) is None and row["precision"] == ""
            continue
        assert row["threshold"] == selective.threshold(of[0], row["wanted"])
        kept = of[1].sure >= row["threshold"]
        assert row["kept"] == kept.mean()
        assert row["precision"] == of[1].right[kept].mean()
    assert {row["name"] for row in rows} == {"", "a", "b", "never"}
    rare = Claims(val.sure, val.right, np.zeros_like(val.names))
    assert {row[1] for row in selective.thresholds("m", ["a", "b"], rare, test, 0.95)} == {"", "a"}


def test_a_classifier_claims_the_class_that_it_predicts() -> None:
    log_p = np.log([[0.9, 0.1], [0.4, 0.6], [0.8, 0.2]])
    claims = ClassReports(Classes(("no", "yes"))).claims(np.array([0, 1, 1]), Outputs(log_p.argmax(1), log_p))
    assert claims.sure.tolist() == pytest.approx([0.9, 0.6, 0.8])
    assert claims.right.tolist() == [True, True, False]
    assert claims.names is not None and claims.names.tolist() == [0, 1, 0]
