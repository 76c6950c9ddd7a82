"""The server of one model: MLflow's scoring protocol in JSON, within limits.

    python -m baton.lifecycle.serving.application FOLDER HOST PORT

FOLDER has the verified files of a logged model (`serving.launch`). `POST /invocations` answers as MLflow's
scoring server, `GET /ping` when the model is loaded. A refused request gets 400, or 408, 411, 413 or 415 if
its body is not read, with the reason in `message`. Bodies wait outside until there is room for them, and
requests that wait together are computed together (`batching`). `GET /metrics` is for Prometheus.
"""

import asyncio
import contextlib
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

from mlflow.exceptions import MlflowException
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from baton.lifecycle.serving import answers, measures, requests
from baton.lifecycle.serving.batching import Batcher
from baton.lifecycle.serving.measures import Measures
from baton.lifecycle.serving.requests import Refused
from baton.tasks.served_limits import Limits, serving

SECONDS = 30.0  # for a body to arrive
OK = 200
CHARACTER_BYTES, SLACK = 6, 65_536  # of a character escaped in JSON; for keys and spaces
MODEL_CONFIG, ABOUT = "SERVING_MODEL_CONFIG", "BATON_SERVED"  # environment


class Room:
    """Bytes that the bodies of all requests may take together."""

    def __init__(self, size: int) -> None:
        """Take the bytes."""
        self._free, self._changed = size, asyncio.Condition()

    @contextlib.asynccontextmanager
    async def taken(self, size: int) -> AsyncIterator[None]:
        """Wait until `size` bytes are free, and hold them."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._free >= size)
            self._free -= size
        try:
            yield
        finally:
            async with self._changed:
                self._free += size
                self._changed.notify_all()


class Service:
    """A loaded model that answers requests."""

    def __init__(self, model: Any, about: Mapping[str, Any] | None = None) -> None:
        """Take what `mlflow.pyfunc.load_model` returned, and what `answers.about` needs to know of it."""
        self.model, self.schema = model, model.metadata.get_input_schema()
        self.columns = len(self.schema.inputs) if self.schema else 1
        self.most = body_bytes(model)
        self.measures = Measures()
        self.room, self.batcher = Room(self.most), Batcher(self._predicted, self.measures.batch)
        own = model.unwrap_python_model()
        self.about = answers.about(getattr(own, "fitted", {}), about or {})
        # Models of earlier versions have no task; the types of others are of their own packages.
        self.several = getattr(getattr(getattr(own, "task", None), "spec", None), "kind", "") == "labels"

    async def invocations(self, request: Request) -> Response:
        """Answer a request."""
        since, rows = time.perf_counter(), 0
        try:
            length = await self._length(request)
            async with self.room.taken(length):
                body = await _body(request, length)
                parsed = await asyncio.to_thread(requests.parse, body, _content_type(request), self.columns)
                del body
                found = await self.batcher.answers(parsed)
                rows = len(found)
                text = await asyncio.to_thread(answers.written, found, self.about, self.several)
                response = Response(text, media_type=requests.JSON)
        except Refused as error:
            response = _refusal(error)
        except ClientDisconnect:
            response = Response(status_code=400)
        except Exception:
            self.measures.request(500, time.perf_counter() - since, 0)
            raise
        self.measures.request(response.status_code, time.perf_counter() - since, rows)
        return response

    async def metrics(self, _: Request) -> Response:
        """Say what has been done."""
        return Response(self.measures.text(self.batcher.waiting), media_type=measures.KIND)

    def _predicted(self, parsed: dict[str, Any]) -> list[Any]:
        """Return the answer to each row of a request, or of several together.

        Raises:
            Refused: the model or MLflow refuses it.
        """
        from mlflow.pyfunc import scoring_server

        try:
            done = scoring_server.invocations(parsed, requests.JSON, self.model, self.schema)
        except MlflowException as error:
            why = requests.reason(error)
            if why is None:
                raise
            raise Refused(400, why) from None
        if done.status != OK:
            raise Refused(done.status, str(done.response))
        found: list[Any] = json.loads(done.response)["predictions"]
        return found

    async def _length(self, request: Request) -> int:
        """Return how long the body is going to be.

        Raises:
            Refused: it is not said, or too long.
        """
        said = request.headers.get("content-length", "")
        # A body in chunks would be read by its chunks, whatever length is said beside them.
        if not said.isdecimal() or "transfer-encoding" in request.headers:
            raise Refused(411, "the request does not say how long its body is; expected: Content-Length")
        if int(said) > self.most:
            await _discard(request)
            raise Refused(413, f"the body has {int(said):,} bytes; expected: at most {self.most:,}")
        return int(said)


def application(model: Any, about: Mapping[str, Any] | None = None) -> Starlette:
    """Return the ASGI application that serves a loaded model; for `about` see `Service`."""
    os.environ["_MLFLOW_IS_IN_SERVING_ENVIRONMENT"] = "true"
    assert serving(), "limits hold in a server only"
    service = Service(model, about)
    ready = ("/ping", "/health")
    routes = [Route(path, lambda _: Response("\n", media_type=requests.JSON)) for path in ready]
    routes.append(Route("/metrics", service.metrics))
    return Starlette(routes=[*routes, Route("/invocations", service.invocations, methods=["POST"])])


def body_bytes(model: Any) -> int:
    """Return the most bytes that the body of a request may have, from the limits of the model."""
    limits = getattr(model.unwrap_python_model(), "limits", Limits())  # of an earlier Baton it has none
    texts, files = CHARACTER_BYTES * limits.max_characters, limits.max_bytes
    names = {*(model.model_config or {})}
    known = [size for name, size in {"max_characters": texts, "max_bytes": files}.items() if name in names]
    return (sum(known) or max(texts, files)) + SLACK


async def _body(request: Request, length: int) -> bytes:
    body, longer = bytearray(), False
    try:
        async with asyncio.timeout(SECONDS):
            async for part in request.stream():
                longer = longer or len(body) + len(part) > length
                body += b"" if longer else part
    except TimeoutError:
        raise Refused(408, f"the body did not arrive within {SECONDS:.0f} s") from None
    if longer:
        raise Refused(400, f"the body is longer than its Content-Length of {length:,} bytes")
    return bytes(body)


async def _discard(request: Request) -> None:
    """Read a body without keeping it, so that the client hears the answer."""
    with contextlib.suppress(TimeoutError, ClientDisconnect):
        async with asyncio.timeout(SECONDS):
            async for _ in request.stream():
                pass


def _content_type(request: Request) -> str:
    return str(request.headers.get("content-type", ""))


def _refusal(error: Refused) -> Response:
    text = json.dumps({"error_code": "BAD_REQUEST", "message": error.reason})
    return Response(text, error.status, media_type=requests.JSON)


def main(folder: str, host: str, port: str) -> None:
    """Run the server until it is stopped."""
    import mlflow.pyfunc
    import uvicorn

    config, about = (json.loads(os.environ.get(name) or "{}") for name in (MODEL_CONFIG, ABOUT))
    model = mlflow.pyfunc.load_model(str(Path(folder)), model_config=config)
    uvicorn.run(application(model, about), host=host, port=int(port), log_level="warning", access_log=False)


if __name__ == "__main__":
    main(*sys.argv[1:])
