"""Work on batches ahead of whoever takes the results: by threads, in order, and never with more of them in memory than is said."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from typing import Any, TypeVar

T = TypeVar("T")
R = TypeVar("R")


def ahead(pool: Executor, work: Callable[[T], R], batches: Iterable[T], most: int) -> Iterator[R]:
    """Yield the result of each batch, in order, with at most `most` of them on their way (`Executor.map` would take all batches at once).

    A batch is let go of when it was worked on; what of it is still wanted then belongs into the result.
    """
    waiting: deque[Future[R]] = deque()
    for batch in batches:
        waiting.append(pool.submit(work, batch))
        if len(waiting) >= most:
            yield waiting.popleft().result()
    for future in waiting:
        yield future.result()


def few(metadata: Any, most: int, size: int) -> int:
    """Rows of a Parquet table, by its metadata, that make a batch of about `size` bytes: `most` at most, one at least."""
    held: int = sum(metadata.row_group(group).total_byte_size for group in range(metadata.num_row_groups))
    rows: int = metadata.num_rows
    return max(1, min(most, size * rows // max(held, 1)))
