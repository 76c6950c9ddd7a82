"""The recommendation: the best, the cheapest of equals, and TF-IDF where it is not beaten."""

import pytest

from baton.compare import recommendation
from baton.compare.comparison import Labels
from tests.compare import made_up

SECONDS = {"full": 100.0, "probe": 5.0, "lora": 60.0, "tfidf_svm": 0.2}
HIGH, CLOSE, LOW = [0.90, 0.92, 0.91, 0.89], [0.89, 0.92, 0.90, 0.90], [0.70, 0.71, 0.72, 0.69]
BASE = [0.80, 0.83, 0.80, 0.82]


def choose(values: dict[str, list[float]], seconds: dict[str, float] | None = None) -> recommendation.Choice:
    found = made_up.comparison({name: {8: own} for name, own in values.items()}, seconds or SECONDS)
    choice = recommendation.choose(found, 8)
    assert choice is not None
    return choice


def said(values: dict[str, list[float]]) -> str:
    found = made_up.comparison({name: {8: own} for name, own in values.items()}, SECONDS)
    (sentence,) = recommendation.sentences(found)
    return sentence


def test_the_best_is_recommended_if_it_is_ahead() -> None:
    values = {"full": HIGH, "probe": LOW, "tfidf_svm": BASE}
    assert choose(values).name == "full"
    text = said(values)
    assert text.startswith("8 labels per class: use full (90.5%), which is ahead of all others beyond noise.")
    assert "It beats the best baseline, tfidf_svm (81.2%): +9.3 points, interval " in text


def test_of_equals_the_cheapest_is_recommended() -> None:
    values = {"full": HIGH, "probe": CLOSE, "tfidf_svm": BASE}
    choice = choose(values)
    assert (choice.name, choice.best, choice.equal) == ("probe", "full", ("full", "probe"))
    text = said(values)
    assert "use probe (90.2%), which took the least time of those that cannot be told from the best" in text
    assert "full (90.5%)" in text and "It beats the best baseline" in text
    slow = choose(values, SECONDS | {"probe": 200.0})  # the negative control: only the cost has changed
    assert slow.name == "full"


def test_without_seconds_the_best_is_recommended() -> None:
    assert choose({"full": HIGH, "probe": CLOSE}, {"probe": 5.0}).name == "full"
    assert choose({"full": HIGH, "probe": CLOSE}, {"lora": 0.0}).name == "full"
    assert choose({"full": HIGH, "probe": CLOSE}, {"full": 5.0}).name == "full"


def test_tfidf_wins() -> None:
    values = {"full": LOW, "probe": LOW, "tfidf_svm": BASE}
    choice = choose(values)
    assert (choice.name, choice.strategy, choice.baseline) == ("tfidf_svm", "full", "tfidf_svm")
    text = said(values)
    assert "use tfidf_svm (81.2%)" in text
    assert (
        "TF-IDF is not beaten: the best strategy, full (70.5%), is worse than tfidf_svm (81.2%): -10.8"
        in text
    )


def test_tfidf_is_not_beaten_if_no_strategy_can_be_told_from_it() -> None:
    values = {"full": HIGH, "tfidf_svm": CLOSE}
    assert choose(values).name == "tfidf_svm"
    text = said(values)
    assert "TF-IDF is not beaten: the best strategy, full (90.5%), is not better beyond noise than" in text


def test_what_is_recommended_beats_the_baseline_if_the_best_does() -> None:
    """`probe` is cheaper and cannot be told from the best, but neither can it be told from TF-IDF."""
    values = {"full": HIGH, "probe": [0.95, 0.78, 0.96, 0.79], "tfidf_svm": BASE}
    choice = choose(values)
    assert (choice.name, choice.equal) == ("full", ("full",)), "probe takes no part"
    assert choice.others == ("probe",)
    assert "use full (90.5%), the only one that beats the best baseline beyond noise." in said(values)


# As VADER's films at 8 labels of each class: the mean of `pairs` is the best, and varies by 20 points.
NOISY, STEADY = [0.80, 0.50, 0.72, 0.60, 0.55], [0.59, 0.61, 0.60, 0.58, 0.60]
WEAK = [0.50, 0.51, 0.50, 0.49, 0.52]


def test_a_noisy_best_does_not_hide_what_beats_the_baseline() -> None:
    values = {"pairs": NOISY, "prototypes": STEADY, "tfidf_svm": WEAK}
    choice = choose(values)
    assert (choice.name, choice.unsure) == ("prototypes", "pairs")
    text = said(values)
    assert "use prototypes (59.6%), the only one that beats the best baseline beyond noise. It beats" in text
    assert "pairs (63.4%) has a better mean, but varies so much that it cannot be told from tfidf_svm" in text


def test_the_cheapest_is_not_behind_another_that_cannot_be_told_from_the_best() -> None:
    """Nobody can be told from the noisy best, but `cheap` is behind `steady` on every draw."""
    worse = [value - loss for value, loss in zip(STEADY, (0.02, 0.03, 0.02, 0.03, 0.02), strict=True)]
    values = {"noisy": NOISY, "steady": STEADY, "cheap": worse}
    seconds = {"noisy": 100.0, "steady": 60.0, "cheap": 1.0}
    choice = choose(values, seconds)
    assert set(choice.equal) == {"noisy", "steady", "cheap"} and choice.name == "steady"


def test_means_over_fewer_draws_are_not_ranked_with_the_others() -> None:
    """`lora` failed on the hard draws."""
    full, lora = [0.90, 0.91, 0.70, 0.71, 0.72], [0.905, 0.905]
    values = {"full": full, "lora": lora, "tfidf_svm": WEAK}
    assert choose(values).name == "full"
    assert "lora: fewer seeds than the others, so not recommended." in said(values)
    fewer = {"full": full, "tfidf_svm": WEAK, "tfidf_logistic": [0.95]}
    found = made_up.comparison(
        {name: {8: own} for name, own in fewer.items()}, SECONDS, ("tfidf_svm", "tfidf_logistic")
    )
    choice = recommendation.choose(found, 8)
    assert choice is not None and (choice.name, choice.baseline) == ("full", "tfidf_svm")


def test_without_a_baseline_nothing_is_said_of_it() -> None:
    assert "baseline" not in said({"full": HIGH, "probe": LOW})
    crf = made_up.comparison({"full": {8: LOW}, "crf": {8: BASE}}, baselines=("crf",))
    assert "The baseline is not beaten" in recommendation.sentences(crf)[0]


PROBE: dict[Labels, list[float]] = {8: LOW, 32: BASE, None: BASE}


@pytest.mark.parametrize(
    ("full", "start"),
    [
        ({8: HIGH, 32: HIGH, None: HIGH}, "full is ahead of probe at every number of labels ("),
        ({8: LOW, 32: HIGH, None: HIGH}, "full overtakes probe at 32 labels per class ("),
        ({8: LOW, 32: BASE, None: HIGH}, "full overtakes probe at all labels ("),
        ({8: HIGH, 32: HIGH, None: BASE}, "full is ahead of probe at some numbers of labels, but not at the"),
        ({8: LOW, 32: LOW, None: LOW}, "full is not ahead of probe beyond noise at any number of labels ("),
    ],
)
def test_where_full_tuning_overtakes_the_probe(full: dict[Labels, list[float]], start: str) -> None:
    found = made_up.comparison({"full": full, "probe": PROBE})
    assert recommendation.overtaking(found, "full", "probe").startswith(start)
    assert recommendation.overtaking(found, "full", "pairs") == ""
