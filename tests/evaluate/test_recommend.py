"""Which model is recommended, and on what grounds."""

from baton.evaluate import recommend

VALIDATION = {"teacher": 0.90, "student": 0.85, "tfidf_svm": 0.88, "majority": 0.5}


def test_the_best_on_validation_where_rows_are_many() -> None:
    found = recommend.choose(VALIDATION, {}, 500, None)
    assert found == {"model": "teacher", "scores": VALIDATION, "rows": 500}
    assert "validation, 500 rows (90.0%; tfidf_svm 88.0%, student 85.0%, majority 50.0%)" in recommend.said(found)


def test_of_equals_the_cheapest() -> None:
    assert recommend.choose(VALIDATION | {"tfidf_svm": 0.90}, {}, 500, None)["model"] == "tfidf_svm"
    assert recommend.choose(VALIDATION | {"student": 0.90}, {}, 500, None)["model"] == "student"


def test_where_rows_are_few_what_was_left_out_counts_and_the_student_keeps_its_distance() -> None:
    left_out = {"teacher": 0.80, "tfidf_svm": 0.83, "majority": 0.5}
    found = recommend.choose(VALIDATION, left_out, 80, 3)
    assert found["model"] == "tfidf_svm" and abs(found["scores"]["student"] - 0.75) < 1e-9
    assert recommend.choose(VALIDATION | {"student": 0.95}, left_out, 80, 3)["model"] == "student"
    assert "3-fold cross-validation on 80 rows of train (83.0%;" in recommend.said(found)
