"""Bodies of requests: what is refused before it takes memory or reaches MLflow, and the server around it."""

import asyncio
import json
from types import SimpleNamespace
from typing import Any

import pytest

from baton.lifecycle.serving import requests
from baton.lifecycle.serving.requests import Refused

DEEP = b'{"inputs": ' + b"[" * 20_000 + b"]" * 20_000 + b"}"


@pytest.mark.parametrize(
    ("body", "kind", "status", "reason"),
    [
        (b"{}", "", 415, "content type"),
        (b"text\na", "text/csv", 415, "content type"),
        (b"{}", "application/json; charset=latin1", 415, "in UTF-8"),
        (b"", "application/json", 400, "not valid JSON"),
        (b'{"inputs": ["\xff"]}', "application/json", 400, "not valid JSON"),
        (b'{"inputs": [NaN]}', "application/json", 400, "NaN is not JSON"),
        (DEEP, "application/json", 400, "not valid JSON"),
        (b'{"inputs": [' + b"[]," * 60_000 + b"[]]}", "application/json", 400, "too many values"),
        (b'{"inputs": [' + b"1," * 600_000 + b"1]}", "application/json", 400, "too many values"),
        (b"[1]", "application/json", 400, "one of inputs"),
        (b'{"inputs": ["a"], "instances": ["a"]}', "application/json", 400, "one of inputs"),
        (b'{"inputs": ["a"], "more": 1}', "application/json", 400, "unknown keys: 'more'"),
        (b'{"inputs": []}', "application/json", 400, "no rows"),
        (b'{"inputs": [["a", "b"]]}', "application/json", 400, "row 0 has 2 values"),
        (b'{"inputs": null}', "application/json", 400, "no rows"),
        (b'{"inputs": ["a"], "params": 5}', "application/json", 400, "params is not an object"),
    ],
)
def test_a_body_is_refused_with_its_reason(body: bytes, kind: str, status: int, reason: str) -> None:
    with pytest.raises(Refused) as caught:
        requests.parse(body, kind, 1)
    assert caught.value.status == status and reason in caught.value.reason
    assert len(caught.value.reason) < 5000


def test_a_good_body_is_parsed() -> None:
    for kind in ("application/json", "Application/JSON; charset=UTF-8"):
        assert requests.parse(b'{"inputs": ["a"], "params": {}}', kind, 1) == {"inputs": ["a"], "params": {}}


def application(limits: Any) -> Any:
    """Return the server of a model without MLflow, whose `predict` nothing here reaches."""
    from baton.lifecycle.serving import application

    model = SimpleNamespace(
        metadata=SimpleNamespace(get_input_schema=lambda: None),
        unwrap_python_model=lambda: SimpleNamespace(limits=limits),
        model_config={"max_characters": limits.max_characters},
    )
    return application.application(model)


def ask(app: Any, headers: dict[str, str], chunks: list[bytes]) -> tuple[int, dict[str, Any]]:
    """Return the status and the answer to a request, without a network."""
    sent: list[dict[str, Any]] = []
    waiting = [{"type": "http.request", "body": chunk, "more_body": True} for chunk in chunks]
    waiting.append({"type": "http.request", "body": b"", "more_body": False})

    async def receive() -> dict[str, Any]:
        return waiting.pop(0)

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/invocations", "query_string": b"", "root_path": ""}
    pairs = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    asyncio.run(app(scope | {"headers": pairs}, receive, send))
    assert not waiting, "the client hears the answer although it is still sending"
    body = b"".join(message.get("body", b"") for message in sent)
    return int(sent[0]["status"]), json.loads(body)


def test_a_body_that_is_too_long_is_not_kept(quiet_mlflow: None, monkeypatch: pytest.MonkeyPatch) -> None:
    from baton.tasks.served_limits import Limits

    monkeypatch.setenv("_MLFLOW_IS_IN_SERVING_ENVIRONMENT", "")  # restored afterwards
    app, chunk = application(Limits(max_characters=10)), b"x" * 100_000
    status, answer = ask(app, {"Content-Length": "200000"}, [chunk, chunk])
    assert status == 413 and "at most 65,596" in answer["message"]
    status, answer = ask(app, {"Content-Length": "12"}, [b'{"inputs": 1'])
    assert status == 415, "negative control: a short one is read"
    head = {"Content-Type": "application/json"}
    status, answer = ask(app, head | {"Content-Length": "8"}, [b"not json"])
    assert status == 400 and "not valid JSON" in answer["message"]


def test_a_body_of_unknown_length_is_refused(quiet_mlflow: None, monkeypatch: pytest.MonkeyPatch) -> None:
    from baton.tasks.served_limits import Limits

    monkeypatch.setenv("_MLFLOW_IS_IN_SERVING_ENVIRONMENT", "")
    app = application(Limits())
    with pytest.raises(AssertionError, match="still sending"):  # nothing of it is read
        ask(app, {}, [b"x"])
    with pytest.raises(AssertionError, match="still sending"):  # chunks win over the length said beside them
        ask(app, {"Content-Length": "1", "Transfer-Encoding": "chunked"}, [b"x"])


def test_a_body_longer_than_it_said_is_not_kept(quiet_mlflow: None, monkeypatch: pytest.MonkeyPatch) -> None:
    from baton.tasks.served_limits import Limits

    monkeypatch.setenv("_MLFLOW_IS_IN_SERVING_ENVIRONMENT", "")
    status, answer = ask(application(Limits()), {"Content-Length": "5"}, [b"x" * 10])
    assert status == 400 and "longer than its Content-Length of 5 bytes" in answer["message"]
