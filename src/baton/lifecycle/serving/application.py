"""The server of one model: MLflow's scoring protocol in JSON, within limits.

    python -m baton.lifecycle.serving.application FOLDER HOST PORT

FOLDER has the verified files of a logged model (`serving.launch`). `POST /invocations` answers as MLflow's
scoring server, `GET /ping` when the model is loaded. A refused request gets 400, or 408, 411, 413 or 415 if
its body is not read, with the reason in `message`. Bodies wait outside until there is room for them.
"""

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from mlflow.exceptions import MlflowException
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from baton.lifecycle.serving import requests
from baton.lifecycle.serving.requests import Refused
from baton.tasks.served_limits import Limits, serving

SECONDS = 30.0  # for a body to arrive
TOGETHER = 2  # requests that are worked on; a model computes one batch at a time
CHARACTER_BYTES, SLACK = 6, 65_536  # of a character escaped in JSON; for keys and spaces
MODEL_CONFIG = "SERVING_MODEL_CONFIG"


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

    def __init__(self, model: Any) -> None:
        """Take what `mlflow.pyfunc.load_model` returned."""
        self.model, self.schema = model, model.metadata.get_input_schema()
        self.columns = len(self.schema.inputs) if self.schema else 1
        self.most = body_bytes(model)
        self.room, self.turns = Room(self.most), asyncio.Semaphore(TOGETHER)

    async def invocations(self, request: Request) -> Response:
        """Answer a request."""
        try:
            length = await self._length(request)
            async with self.room.taken(length):
                body = await _body(request, length)
                async with self.turns:
                    return await asyncio.to_thread(self._answer, body, _content_type(request))
        except Refused as error:
            return _refusal(error)
        except ClientDisconnect:
            return Response(status_code=400)

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

    def _answer(self, body: bytes, content_type: str) -> Response:
        from mlflow.pyfunc import scoring_server

        try:
            parsed = requests.parse(body, content_type, self.columns)
            done = scoring_server.invocations(parsed, requests.JSON, self.model, self.schema)
        except Refused as error:
            return _refusal(error)
        except MlflowException as error:
            why = requests.reason(error)
            if why is None:
                raise
            return _refusal(Refused(400, why))
        return Response(done.response, done.status, media_type=done.mimetype)


def application(model: Any) -> Starlette:
    """Return the ASGI application that serves a loaded model."""
    os.environ["_MLFLOW_IS_IN_SERVING_ENVIRONMENT"] = "true"
    assert serving(), "limits hold in a server only"
    service = Service(model)
    ready = ("/ping", "/health")
    routes = [Route(path, lambda _: Response("\n", media_type=requests.JSON)) for path in ready]
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
    from baton import tracking

    tracking.prepare()
    import mlflow.pyfunc
    import uvicorn

    config = json.loads(os.environ.get(MODEL_CONFIG) or "{}")
    model = mlflow.pyfunc.load_model(str(Path(folder)), model_config=config)
    uvicorn.run(application(model), host=host, port=int(port), log_level="warning", access_log=False)


if __name__ == "__main__":
    main(*sys.argv[1:])
