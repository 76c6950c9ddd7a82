"""Process batches ahead of their consumer: in threads, in order, with a bounded number in memory."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from typing import Any, TypeVar

T = TypeVar("T")
R = TypeVar("R")


def ahead(pool: Executor, work: Callable[[T], R], batches: Iterable[T], most: int) -> Iterator[R]:
    """Yield the result of each batch, in order, with at most `most` in flight.

    `Executor.map` would take all batches at once. A batch is released after its work; anything still needed
    from it belongs in the result.
    """
    waiting: deque[Future[R]] = deque()
    for batch in batches:
        waiting.append(pool.submit(work, batch))
        if len(waiting) >= most:
            yield waiting.popleft().result()
    for future in waiting:
        yield future.result()


def few(metadata: Any, most: int, size: int) -> int:
    """Return how many rows of a Parquet table make a batch of about `size` bytes, from one to `most`.

    `metadata` is the table's.
    """
    held: int = sum(metadata.row_group(group).total_byte_size for group in range(metadata.num_row_groups))
    rows: int = metadata.num_rows
    return max(1, min(most, size * rows // max(held, 1)))
