"""What a server says beside its predictions, and of itself."""

import json

from baton.lifecycle.serving import answers
from baton.lifecycle.serving.measures import Measures

ROWS = [{"label": "a", "probability_a": 0.7, "probability_b": 0.3}, {"label": "b", "probability_a": 0.1}]


def test_answers_name_their_model_and_who_abstains() -> None:
    model = {"name": "news", "version": "3", "sha256": "ab"}
    said = answers.about({"temperature": 1.5, "thresholds": [0.5]}, {"model": model, "abstain_below": 0.6})
    assert said == {"model": model, "temperature": 1.5, "abstain_below": 0.6}
    found = json.loads(answers.written(ROWS, said))
    assert [row["abstains"] for row in found["predictions"]] == [False, True]
    assert found["model"]["version"] == "3"


def test_without_a_threshold_nobody_abstains() -> None:
    found = json.loads(answers.written(ROWS, answers.about({}, {"abstain_below": None})))
    assert found == {"predictions": ROWS}


def test_labels_are_sure_if_each_is() -> None:
    rows = [{"probability_a": 0.01, "probability_b": 0.02}, {"probability_a": 0.99, "probability_b": 0.5}]
    found = json.loads(answers.written(rows, {"abstain_below": 0.9}, several=True))
    assert [row["abstains"] for row in found["predictions"]] == [False, True]


def test_rows_without_probabilities_stay_as_they_are() -> None:
    assert json.loads(answers.written([{"price": 3.0}, 4], {"abstain_below": 0.9}))["predictions"] == [
        {"price": 3.0},
        4,
    ]


def test_measures_add_up() -> None:
    own = Measures()
    own.request(200, 0.02, rows=3)
    own.request(400, 20.0, rows=0)
    own.batch(2)
    lines = own.text(waiting=1).splitlines()
    for line in (
        'baton_requests_total{status="200"} 1',
        'baton_requests_total{status="400"} 1',
        'baton_request_seconds_bucket{le="0.01"} 0',
        'baton_request_seconds_bucket{le="0.025"} 1',
        'baton_request_seconds_bucket{le="10.0"} 1',
        'baton_request_seconds_bucket{le="+Inf"} 2',
        "baton_request_seconds_count 2",
        "baton_rows_total 3",
        "baton_batches_total 1",
        "baton_batched_requests_total 2",
        "baton_waiting_requests 1",
    ):
        assert line in lines
