"""A served model under malformed requests: no 5xx, bounded memory, and right answers among them.

Input: folders of logged models (`baton verify MODEL --out FOLDER`), of texts or images. Each is served by the
server of `baton serve`, and clients send malformed and good requests in turn. Output: statuses, the server's
memory beyond what it had after the first good requests, and how many good requests had the right answer.

    python -m benchmarks.malformed_requests FOLDER... --seconds 60 --clients 8
"""

import argparse
import base64
import collections
import http.client
import io
import json
import os
import random
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from PIL import Image

from baton.lifecycle.serving import launch

SERVER_ERROR, OK = 500, 200
MIB = 2**20
ROUNDING = 1e-5
LIMIT_MIB = 200
START_SECONDS = 120.0
Request = tuple[dict[str, str], bytes]  # headers and body

TEXTS = [["wheat exports rose sharply"], ["the bank raised its rate", "net profit 3 mln dlrs"], ["oil"]]
COLOURS = ["red", "green", "navy"]


@dataclass
class Counts:
    """What the clients saw."""

    statuses: collections.Counter[int] = field(default_factory=collections.Counter)
    right: int = 0
    wrong: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)  # bodies that got 5xx


def sent(value: Any) -> Request:
    """Return a request with a JSON body."""
    return {"Content-Type": "application/json"}, json.dumps(value).encode()


def image(width: int, height: int, colour: str = "red", format: str = "PNG") -> str:  # noqa: A002  Pillow's term
    """Return an image in base64."""
    target = io.BytesIO()
    Image.new("RGB", (width, height), colour).save(target, format)
    return base64.b64encode(target.getvalue()).decode()


def deep_png(width: int, height: int, kind: int, channels: int) -> str:
    """Return a PNG of 16 bits in base64, all black: a few kB, whatever its size."""

    def chunk(name: bytes, content: bytes) -> bytes:
        summed = struct.pack(">I", zlib.crc32(name + content))
        return struct.pack(">I", len(content)) + name + content + summed

    packer, row = zlib.compressobj(9), bytes(1 + 2 * channels * width)
    packed = b"".join([*(packer.compress(row) for _ in range(height)), packer.flush()])
    header = struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, 0)
    content = chunk(b"IHDR", header) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")
    return base64.b64encode(b"\x89PNG\r\n\x1a\n" + content).decode()


def malformed(images: bool) -> list[Request]:
    """Return requests that are to be refused, or answered although they are as large as is allowed."""
    bodies: list[Any] = [
        *({"inputs": value} for value in (None, 5, [], {}, [1, 2], [None], [True], [""], [" \u200b"], "")),
        *({"inputs": value} for value in ([["a", "b"]], [[["a"]]], [{"a": 1}], {"a": ["b"]}, ["\ud800"])),
        *({"instances": value} for value in ([1], [{"text": None}], [{"image": 3}], {}, [{}], [[]])),
        *(
            {"dataframe_split": value}
            for value in (4, {}, {"data": [[1]]}, {"columns": ["x"], "data": [["a"]]})
        ),
        {"dataframe_split": {"columns": ["text", "text"], "data": [["a", "b"]]}},
        {"dataframe_split": {"columns": ["text"], "data": [["a"]], "index": [[1]]}},
        *({"dataframe_records": value} for value in (4, [4], [{}], [{"text": 3}], [None])),
        *({"inputs": ["a"], "params": {"batch_size": value}} for value in (-1, 0, 10**20, 1.5, "x", [1], {})),
        *({"inputs": ["a"], "params": value} for value in (5, [], "x", None, {"other": 1})),
        {"inputs": ["a"], "more": 1},
        {"messages": [{"role": "user", "content": "x"}]},
        [1],
        "x",
        {"inputs": ["/etc/passwd"]},
        {"inputs": ["data:image/png;base64,AAAA"]},
        {"inputs": ["a"] * 100_000},
        {"inputs": ["wheat " * 2_000_000]},
        {"inputs": ["東" * 900_000]},
        {"inputs": ["東" * 190_000]},
        {"inputs": ["wheat " * 200] * 150},
        {"inputs": [{} for _ in range(40_000)]},
    ]
    found = [sent(body) for body in bodies]
    json_type = {"Content-Type": "application/json"}
    deep = b'{"inputs": ' + b"[" * 45_000 + b"]" * 45_000 + b"}"
    wide = b'{"inputs": [' + b"[],{}," * 500_000 + b"1]}"
    raw = [
        b"",
        b"not json",
        b'{"inputs": ["\xff"]}',
        b'{"inputs": [NaN]}',
        b"{" * 100,
        deep,
        wide,
        os.urandom(5000),
    ]
    found += [(json_type, content) for content in raw]
    found += [
        ({"Content-Type": kind}, b'{"inputs": ["a"]}')
        for kind in ("", "text/csv", "a; b=c", "application/json; charset=latin1")
    ]
    found += [
        ({}, b'{"inputs": ["a"]}'),
        ({"Content-Type": "application/vnd.apache.parquet"}, os.urandom(2000)),
    ]
    return found + (list(_images()) if images else [])


def _images() -> Iterator[Request]:
    whole = base64.b64decode(image(50, 50))
    broken = [
        whole[:60],
        whole[:-12],
        whole[:40] + os.urandom(30) + whole[70:],
        b"\x89PNG\r\n\x1a\n",
        b"II*\0" * 9,
    ]
    yield from (sent({"inputs": [base64.b64encode(content).decode()]}) for content in broken)
    yield from (sent({"inputs": [deep_png(side, side, kind, channels)]}) for side, kind, channels in _sizes())
    yield sent({"inputs": [image(4000, 3000, format="JPEG")] * 4})
    yield sent({"inputs": [image(3000, 2000, format="WEBP")] * 2})
    yield sent({"inputs": [image(20_000, 20_000)]})
    yield sent({"inputs": [image(8, 8)] * 1500})


def _sizes() -> list[tuple[int, int, int]]:
    """Return the side, kind and channels of 16-bit PNGs: as large as allowed, and too large."""
    return [(side, kind, channels) for side in (3500, 9000) for kind, channels in ((0, 1), (2, 3), (6, 4))]


class Served:
    """A server of a logged model on a free port."""

    def __init__(self, folder: Path, work: Path) -> None:
        """Start it, and wait until it answers."""
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = int(free.getsockname()[1])
        environment = launch.environment(os.environ, work)
        self.process = subprocess.Popen(
            launch.command(folder.resolve(), "127.0.0.1", self.port), env=environment
        )
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                if self.ask(({}, b""), "GET", "/ping")[0] == OK:
                    return
            except OSError:
                time.sleep(0.5)
        raise SystemExit(f"{folder}: the server did not start")

    def ask(self, request: Request, method: str = "POST", path: str = "/invocations") -> tuple[int, bytes]:
        """Return the status and body of the answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        try:
            connection.request(method, path, request[1], request[0])
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def memory(self) -> int:
        """Return the bytes that the server's own memory takes now."""
        return int(psutil.Process(self.process.pid).memory_info().rss)


def measure(folder: Path, seconds: float, clients: int) -> bool:
    """Serve a model under malformed requests and print what came of it; return whether it held."""
    with tempfile.TemporaryDirectory() as work:
        served = Served(folder, Path(work))
        try:
            return _measured(folder, served, seconds, clients)
        finally:
            served.process.terminate()
            served.process.wait()


def _measured(folder: Path, served: Served, seconds: float, clients: int) -> bool:
    images = "pillow" in (folder / "requirements.txt").read_text()
    inputs = [[image(60, 40, colour)] for colour in COLOURS] if images else TEXTS
    good = [sent({"inputs": value}) for value in inputs]
    expected = [json.loads(served.ask(request)[1])["predictions"] for request in good]
    bad, counts, guard = malformed(images), Counts(), threading.Lock()
    before, peak, end = served.memory(), [0], time.monotonic() + seconds

    def client(seed: int) -> None:
        draw = random.Random(seed)  # noqa: S311  not for secrets
        while time.monotonic() < end:
            _one(served, draw, bad, list(zip(good, expected, strict=True)), counts, guard)

    threads = [threading.Thread(target=client, args=(seed,)) for seed in range(clients)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        peak[0] = max(peak[0], served.memory())
        time.sleep(0.05)
    after = served.memory()
    statuses = dict(sorted(counts.statuses.items()))
    grown, left = (peak[0] - before) / MIB, (after - before) / MIB
    print(
        f"{folder}: {sum(statuses.values()):,} requests in {seconds:.0f} s by {clients} clients: {statuses}"
    )
    print(f"  memory: {before / MIB:.0f} MiB before, at most {grown:+.0f}, at the end {left:+.0f}")
    print(f"  good requests: {counts.right:,} right, {len(counts.wrong)} wrong {counts.wrong[:2]}")
    for text in counts.failed[:5]:
        print(f"  5xx: {text}")
    return not counts.failed and not counts.wrong and grown < LIMIT_MIB and counts.right > 0


def _one(
    served: Served,
    draw: random.Random,
    bad: list[Request],
    good: list[tuple[Request, Any]],
    counts: Counts,
    guard: Any,
) -> None:
    """Send one request, every third a good one, and note what came of it."""
    request, wanted = draw.choice(good) if draw.random() < 1 / 3 else (draw.choice(bad), None)
    try:
        status, body = served.ask(request)
    except OSError as error:
        status, body = 0, repr(error).encode()
    with guard:
        counts.statuses[status] += 1
        if status >= SERVER_ERROR or status == 0:
            counts.failed.append(f"{status} {body[:200]!r} for {request[1][:100]!r} {request[0]}")
        if wanted is not None and (status != OK or not _same(json.loads(body)["predictions"], wanted)):
            counts.wrong.append(f"{status} {body[:100]!r}")
        elif wanted is not None:
            counts.right += 1


def _same(found: list[dict[str, Any]], wanted: list[dict[str, Any]]) -> bool:
    """Return whether both answers are the same, but for rounding."""
    return len(found) == len(wanted) and all(
        row[key] == value or (isinstance(value, float) and abs(row[key] - value) < ROUNDING)
        for row, other in zip(found, wanted, strict=True)
        for key, value in other.items()
    )


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--clients", type=int, default=8)
    options = parser.parse_args()
    held = [measure(folder, options.seconds, options.clients) for folder in options.folders]
    sys.exit(0 if all(held) else 1)


if __name__ == "__main__":
    main()
