"""What a server has done, in the text format of Prometheus: `GET /metrics`."""

import bisect
import threading
from collections import Counter

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)  # seconds
KIND = "text/plain; version=0.0.4"


class Measures:
    """Counts requests, rows, batches and seconds."""

    def __init__(self) -> None:
        """Start at nothing."""
        self._lock = threading.Lock()
        self._statuses: Counter[int] = Counter()
        self._slower = [0] * (len(BUCKETS) + 1)  # requests in each bucket, the last for the slowest
        self._seconds = 0.0
        self._rows = self._batches = self._batched = 0

    def request(self, status: int, seconds: float, rows: int) -> None:
        """Count a request that was answered."""
        with self._lock:
            self._statuses[status] += 1
            self._slower[bisect.bisect_left(BUCKETS, seconds)] += 1
            self._seconds += seconds
            self._rows += rows

    def batch(self, requests: int) -> None:
        """Count a batch of so many requests."""
        with self._lock:
            self._batches += 1
            self._batched += requests

    def text(self, waiting: int) -> str:
        """Return all of it; `waiting` requests wait for a batch."""
        with self._lock:
            counts = self._statuses.items()
            lines = [
                "# HELP baton_requests_total Requests by the status of their answer.",
                "# TYPE baton_requests_total counter",
                *(f'baton_requests_total{{status="{status}"}} {count}' for status, count in sorted(counts)),
                "# HELP baton_request_seconds Time from the first byte of a request to its answer.",
                "# TYPE baton_request_seconds histogram",
            ]
            total = 0
            for bound, count in zip((*BUCKETS, "+Inf"), self._slower, strict=True):
                total += count
                lines.append(f'baton_request_seconds_bucket{{le="{bound}"}} {total}')
            lines += [
                f"baton_request_seconds_sum {self._seconds:.6f}",
                f"baton_request_seconds_count {total}",
            ]
            for name, kind, what, value in (
                ("rows_total", "counter", "Rows that were answered.", self._rows),
                ("batches_total", "counter", "Batches that were computed.", self._batches),
                ("batched_requests_total", "counter", "Requests in these batches.", self._batched),
                ("waiting_requests", "gauge", "Requests that wait for a batch.", waiting),
            ):
                lines += [
                    f"# HELP baton_{name} {what}",
                    f"# TYPE baton_{name} {kind}",
                    f"baton_{name} {value}",
                ]
        return "\n".join(lines) + "\n"
