"""Which model is recommended, and for what reason."""

import numpy as np
import pytest

from baton.evaluate import recommend
from tests import tiny


def hits(**right: int) -> dict[str, np.ndarray]:
    """Return model -> hits on 100 rows, of which the first `count` are right."""
    return {name: np.arange(100) < count for name, count in right.items()}


def test_the_best_on_validation_where_rows_are_many() -> None:
    found = recommend.choose(hits(teacher=90, student=85, tfidf_svm=80, majority=50), None)
    assert found == {
        "model": "teacher",
        "scores": {"teacher": 0.9, "student": 0.85, "tfidf_svm": 0.8, "majority": 0.5},
        "rows": 100,
    }
    assert "validation, 100 rows (90.0%; student 85.0%, tfidf_svm 80.0%, majority 50.0%)" in recommend.said(
        found, tiny.ACCURACY
    )


@pytest.mark.parametrize(
    ("right", "model"),
    [
        ({"teacher": 90, "student": 90, "tfidf_svm": 80}, "student"),
        ({"teacher": 90, "student": 90, "tfidf_svm": 90}, "tfidf_svm"),
        # A difference of one row does not exceed its standard error.
        ({"teacher": 91, "student": 90, "tfidf_svm": 90}, "tfidf_svm"),
        ({"teacher": 92, "student": 90, "tfidf_svm": 90}, "teacher"),
        ({"teacher": 90, "student": 85}, "teacher"),
    ],
)
def test_a_transformer_must_be_better_than_the_best_baseline_beyond_a_standard_error(
    right: dict[str, int], model: str
) -> None:
    assert recommend.choose(hits(**right), None)["model"] == model


def test_the_error_is_of_pairs() -> None:
    """Two models that agree on nearly all rows need a smaller difference than two that do not."""
    row = np.arange(100)
    alike = {"teacher": row < 84, "tfidf_svm": row < 80}
    # 20 rows that only the first has right, 16 that only the second has right.
    apart = {"teacher": row < 84, "tfidf_svm": (row >= 20) & (row < 100)}
    assert recommend.choose(alike, None)["model"] == "teacher"
    assert recommend.choose(apart, None)["model"] == "tfidf_svm"


def test_where_rows_are_few_what_was_left_out_counts() -> None:
    found = recommend.choose(hits(teacher=80, tfidf_svm=83), 3)
    assert found["model"] == "tfidf_svm" and found["folds"] == 3
    assert (
        "3-fold cross-validation on 100 rows of train, in which the student takes no part (83.0%;"
        in recommend.said(found, tiny.ACCURACY)
    )
