"""Compare `baton serve` with `mlflow models serve` of a transformers pipeline of the same student.

Input: folders of logged models (`baton verify MODEL --out FOLDER`), such as an exported student, and the
project that trained it. Clients send one text of the test split at a time, as fast as they are answered; the
servers take turns. The pipeline has the student's encoder with BERT's own pooler and an untrained head, since
transformers cannot load mean pooling: the work is the same, its answers mean nothing.

    python -m benchmarks.serve_speed FOLDER... --project . --seconds 60 --clients 8
"""

import argparse
import contextlib
import http.client
import itertools
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from baton.lifecycle.serving import launch
from benchmarks import _sides

START_SECONDS, OK = 120.0, 200
PEER = "mlflow models serve, transformers"


@dataclass
class Counts:
    """What the clients of a server saw."""

    seconds: list[float] = field(default_factory=list)  # of each request that was answered
    failed: list[str] = field(default_factory=list)
    elapsed: float = 0.0


def main(arguments: Sequence[str] | None = None) -> None:
    """Print throughput and latency of each server, and ratios."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folders", type=Path, nargs="+", help="verified files of logged models")
    parser.add_argument("--project", type=Path, default=Path(), help="the project (default: this folder)")
    parser.add_argument("--seconds", type=float, default=60.0, help="of each server, each time (default 60)")
    parser.add_argument("--clients", type=int, default=8, help="clients at a time (default 8)")
    parser.add_argument("--repeats", type=int, default=3, help="turns of each server (default 3)")
    parser.add_argument("--port", type=int, default=5200, help="the first of the ports (default 5200)")
    options = parser.parse_args(arguments)
    _sides.require(options.project, "data/clean/test.parquet", "models/student/model.safetensors")
    texts: list[str] = pq.read_table(options.project / "data/clean/test.parquet")["text"].to_pylist()
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        peer = Path(name) / "peer"
        write_peer(options.project / "models/student", peer)
        servers = {PEER: stack.enter_context(running(peers_command(peer, options.port), options.port))}
        for place, folder in enumerate(options.folders, 1):
            port = options.port + place
            command = launch.command(folder.resolve(), "127.0.0.1", port)
            servers[f"baton serve, {folder.name}"] = stack.enter_context(running(command, port))
        found: dict[str, list[Counts]] = {server: [] for server in servers}
        for turn in range(options.repeats):
            for server, port in list(servers.items())[:: 1 if turn % 2 == 0 else -1]:
                load(port, texts, options.clients, 3.0)  # warm
                found[server].append(load(port, texts, options.clients, options.seconds))
    report(found, options.clients)


def write_peer(student: Path, target: Path) -> None:
    """Save a transformers pipeline with the student's encoder in MLflow's transformers flavour."""
    import mlflow
    import torch
    from transformers import AutoModelForSequenceClassification, PreTrainedTokenizerFast, pipeline

    from baton.models import model_folder

    model, info = model_folder.load(student, "sdpa")
    config = model.backbone.config
    config.num_labels = info.task.width
    theirs = AutoModelForSequenceClassification.from_config(config, dtype=torch.float32)
    theirs.bert.load_state_dict(model.backbone.state_dict(), strict=False)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_file=str(student / "tokenizer.json"),
        model_max_length=128,
        pad_token="[PAD]",  # noqa: S106  a token of BERT
    )
    made = pipeline("text-classification", model=theirs.eval(), tokenizer=tokenizer)
    mlflow.transformers.save_model(
        made, str(target), model_config={"truncation": True, "max_length": 128}, pip_requirements=["mlflow"]
    )


def peers_command(folder: Path, port: int) -> list[str]:
    """Return the command of MLflow's own server."""
    mlflow = str(Path(sys.executable).parent / "mlflow")
    return [mlflow, "models", "serve", "-m", str(folder), "-p", str(port), "--env-manager", "local"]


@contextlib.contextmanager
def running(command: Sequence[str], port: int) -> Iterator[int]:
    """Run a server until the end of the context; yield its port when it answers."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    server = subprocess.Popen(
        command, env=os.environ | {"PATH": path}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        until = time.monotonic() + START_SECONDS
        while not _answers(port):
            assert server.poll() is None, f"the server ended: {command}"
            assert time.monotonic() < until, f"the server does not answer: {command}"
            time.sleep(0.2)
        yield port
    finally:
        server.terminate()
        server.wait()


def _answers(port: int) -> bool:
    try:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        connection.request("GET", "/ping")
        return connection.getresponse().status == OK
    except OSError:
        return False


def load(port: int, texts: Sequence[str], clients: int, seconds: float) -> Counts:
    """Let clients send single texts for some seconds."""
    counts, lock, until = Counts(), threading.Lock(), time.monotonic() + seconds

    def client(first: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        for place in itertools.count(first, clients):
            if time.monotonic() >= until:
                return
            body = json.dumps({"inputs": [texts[place % len(texts)]]})
            start = time.perf_counter()
            try:
                connection.request("POST", "/invocations", body, {"Content-Type": "application/json"})
                answer = connection.getresponse()
                said = answer.read()
                failed = None if answer.status == OK else f"{answer.status}: {said[:200]!r}"
            except (OSError, http.client.HTTPException) as error:
                failed = repr(error)
                connection.close()
            with lock:
                if failed is None:
                    counts.seconds.append(time.perf_counter() - start)
                else:
                    counts.failed.append(failed)

    threads = [threading.Thread(target=client, args=(first,)) for first in range(clients)]
    begun = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    counts.elapsed = time.monotonic() - begun
    return counts


def report(found: dict[str, list[Counts]], clients: int) -> None:
    """Print a table, and the ratio of each server to the peer."""
    print(f"\n{_sides.machine('mlflow', 'transformers', 'torch')}; {clients} clients, one text a request")
    rates = {name: [len(own.seconds) / own.elapsed for own in turns] for name, turns in found.items()}
    rows = []
    for name, turns in found.items():
        taken = 1000 * np.concatenate([own.seconds for own in turns])
        failed = sum(len(own.failed) for own in turns)
        middle, high = (f"{np.percentile(taken, share):.1f}" for share in (50, 95))
        rows.append([name, _sides.spread(rates[name]), middle, high, f"{len(taken):,}", failed])
    _sides.markdown(["server", "requests/s", "p50, ms", "p95, ms", "answered", "failed"], rows)
    for name, own in rates.items():
        if name != PEER:
            print(f"{name}: {_sides.ratio(own, rates[PEER])} times the throughput of {PEER}")
    for name, turns in found.items():
        for text in dict.fromkeys(text for own in turns for text in own.failed):
            print(f"{name} failed: {text}")


if __name__ == "__main__":
    main()
