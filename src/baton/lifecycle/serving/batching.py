"""Requests that wait at the same time are computed together.

While a batch is computed, others arrive; they become the next batch. So nobody waits for a batch to fill up,
and single rows of many clients cost little more than those of one. Where one request of a batch is refused,
each is computed by itself, so no client sees another's fault.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from baton.lifecycle.serving import requests

MOST_ROWS = 128  # of a batch of several requests
Predict = Callable[[dict[str, Any]], list[Any]]  # a parsed request -> an answer for each row


@dataclass
class Job:
    """A request that waits for its answers."""

    parsed: dict[str, Any]
    rows: list[Any] | None  # None: it cannot be computed with others
    answers: "asyncio.Future[list[Any]]" = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )


class Batcher:
    """Computes the answers to requests, one batch at a time."""

    def __init__(self, predict: Predict, observed: Callable[[int], None] = lambda rows: None) -> None:
        """`observed` is called with the number of requests in each batch."""
        self._predict, self._observed = predict, observed
        self._waiting: list[Job] = []
        self._task: asyncio.Task[None] | None = None

    @property
    def waiting(self) -> int:
        """The number of requests that wait for a batch."""
        return len(self._waiting)

    async def answers(self, parsed: dict[str, Any]) -> list[Any]:
        """Return the answers to a parsed request.

        Raises:
            Refused: it is refused.
        """
        job = Job(parsed, requests.rows(parsed))
        self._waiting.append(job)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._work())
        return await job.answers

    async def _work(self) -> None:
        while self._waiting:
            batch = self._next()
            self._observed(len(batch))
            try:
                answers = await asyncio.to_thread(self._computed, batch)
            except Exception as error:  # noqa: BLE001  such as no memory; whoever waits must hear of it
                answers = [error for _ in batch]
            for job, found in zip(batch, answers, strict=True):
                if job.answers.done():  # its client is gone
                    continue
                if isinstance(found, BaseException):
                    job.answers.set_exception(found)
                else:
                    job.answers.set_result(found)

    def _next(self) -> list[Job]:
        """Take the first request, and those that can be computed with it."""
        first = self._waiting.pop(0)
        batch, count = [first], len(first.rows or ())
        if first.rows is None:
            return batch
        for job in [*self._waiting]:
            own = job.rows
            if own is None or job.parsed.get("params") != first.parsed.get("params"):
                continue
            if count + len(own) > MOST_ROWS:
                break
            count += len(own)
            batch.append(job)
            self._waiting.remove(job)
        return batch

    def _computed(self, batch: list[Job]) -> list[list[Any] | BaseException]:
        """Return the answers to each request, or why there are none."""
        if len(batch) > 1:
            merged = [row for job in batch for row in job.rows or ()]
            found = self._tried(batch[0].parsed | {requests.LISTED: merged})
            if not isinstance(found, BaseException) and len(found) == len(merged):
                parts, start = list[list[Any] | BaseException](), 0
                for job in batch:
                    end = start + len(job.rows or ())
                    parts.append(found[start:end])
                    start = end
                return parts
        return [self._tried(job.parsed) for job in batch]

    def _tried(self, parsed: dict[str, Any]) -> list[Any] | BaseException:
        try:
            return self._predict(parsed)
        except Exception as error:  # noqa: BLE001  it is raised again where its request waits
            return error
