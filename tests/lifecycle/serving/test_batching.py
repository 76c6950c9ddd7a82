"""Requests that wait together are computed together, and no client sees another's rows or faults."""

import asyncio
import threading
from typing import Any

import pytest

from baton.lifecycle.serving import requests
from baton.lifecycle.serving.batching import MOST_ROWS, Batcher
from baton.lifecycle.serving.requests import Refused


class Model:
    """Answers each row with its length; waits before its first batch until all requests are there."""

    def __init__(self) -> None:
        self.batches: list[list[Any]] = []
        self.go = threading.Event()

    def __call__(self, parsed: dict[str, Any]) -> list[Any]:
        assert self.go.wait(10)
        rows = parsed.get(requests.LISTED)
        self.batches.append(rows if isinstance(rows, list) else [])
        if isinstance(rows, list) and "" in rows:
            raise Refused(400, f"row {rows.index('')} is empty")
        return [len(row) for row in rows or ()]


def answered(model: Model, *parsed: dict[str, Any]) -> list[Any]:
    """Send requests at the same time; return the answers, or what was raised."""

    async def run() -> list[Any]:
        batcher = Batcher(model)
        tasks = [asyncio.create_task(batcher.answers(parsed[0]))]
        await asyncio.sleep(0.05)  # it is being computed
        tasks += [asyncio.create_task(batcher.answers(one)) for one in parsed[1:]]
        await asyncio.sleep(0.05)  # the others wait
        model.go.set()
        return await asyncio.gather(*tasks, return_exceptions=True)

    return asyncio.run(run())


def test_what_waits_together_is_computed_together_and_goes_to_whom_it_belongs() -> None:
    model = Model()
    found = answered(model, {"inputs": ["a"]}, {"inputs": ["bb", "ccc"]}, {"inputs": ["dddd"]})
    assert found == [[1], [2, 3], [4]]
    assert model.batches == [["a"], ["bb", "ccc", "dddd"]]


def test_a_refused_row_spoils_no_other_request() -> None:
    model = Model()
    found = answered(model, {"inputs": ["a"]}, {"inputs": ["bb"]}, {"inputs": ["c", ""]}, {"inputs": ["dd"]})
    assert [found[0], found[1], found[3]] == [[1], [2], [2]]
    assert isinstance(found[2], Refused)
    assert found[2].reason == "row 1 is empty"  # its own row, not that of the batch


@pytest.mark.parametrize(
    "other", [{"inputs": ["bb"], "params": {"batch_size": 2}}, {"inputs": {"x": ["bb"]}}]
)
def test_requests_that_differ_are_computed_alone(other: dict[str, Any]) -> None:
    model = Model()
    answered(model, {"inputs": ["a"]}, {"inputs": ["b"]}, other, {"inputs": ["c"]})
    assert [len(batch) for batch in model.batches] == ([1, 2, 1] if "params" in other else [1, 2, 0])


def test_a_batch_has_a_limit() -> None:
    model = Model()
    sizes = [1, MOST_ROWS - 1, 2, 3]
    found = answered(model, *({"inputs": ["x"] * size} for size in sizes))
    assert [len(own) for own in found] == sizes
    assert [len(batch) for batch in model.batches] == [1, MOST_ROWS - 1, 5]


def test_a_fault_of_the_model_reaches_its_request_and_the_next_is_answered() -> None:
    async def run() -> tuple[Any, Any]:
        calls = []

        def fails_once(parsed: dict[str, Any]) -> list[Any]:
            calls.append(parsed)
            if len(calls) == 1:
                raise RuntimeError("out of memory")
            return [1]

        batcher = Batcher(fails_once)
        with pytest.raises(RuntimeError, match="out of memory"):
            await batcher.answers({"inputs": ["a"]})
        return await batcher.answers({"inputs": ["a"]}), batcher.waiting

    assert asyncio.run(run()) == ([1], 0)


def test_a_fault_between_predictions_leaves_nobody_waiting() -> None:
    async def run() -> list[Any]:
        batcher = Batcher(lambda parsed: {"not": "a list"})  # type: ignore[arg-type, return-value]
        asked = [batcher.answers({"inputs": ["a", "b"]}) for _ in range(3)]
        return await asyncio.wait_for(asyncio.gather(*asked, return_exceptions=True), 5)

    assert len(asyncio.run(run())) == 3


def test_instances_are_inputs_if_they_are_values() -> None:
    kind = requests.JSON
    assert requests.parse(b'{"instances": ["a"], "params": {}}', kind, 1) == {"params": {}, "inputs": ["a"]}
    assert requests.rows(requests.parse(b'{"instances": [{"text": "a"}]}', kind, 1)) is None
    assert requests.rows({"dataframe_split": {}}) is None
