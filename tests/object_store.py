"""An object store with the S3 API on this machine.

The store is OpenStack Swift, whose packages are in the development lock: four processes that keep objects in
files, check signatures, and know nothing of the client's library. What they hold outlives them.
"""

import functools
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from importlib import util
from pathlib import Path
from typing import Any, Self

import pytest

from baton.processes import patience, supervision
from tests.gate import Gate, free_port

KEY, SECRET = "test:tester", "planted-secret-of-the-tester"
READER, READING = "test:reader", "planted-secret-of-the-reader"  # may read the bucket, and no more
BUCKET = "baton"
needs_store = (
    pytest.mark.skipif(util.find_spec("swift") is None, reason="no Swift, whose packages are for Linux"),
    # A request that was cut off leaves aiohttp's session open.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
)
BACKENDS = {"account": "account", "container": "container", "object": "obj"}  # what it is, and its package
# In a process of its own: Swift replaces parts of the standard library when it is imported.
RINGS = """
import sys
from swift.common.ring import RingBuilder
for word in sys.argv[1:]:
    path, port = word.rsplit(":", 1)
    builder = RingBuilder(1, 1, 0)
    place = {"ip": "127.0.0.1", "port": int(port), "device": "d1", "weight": 1.0, "meta": ""}
    place |= {"replication_ip": place["ip"], "replication_port": place["port"], "region": 1, "zone": 1}
    builder.add_dev(place)
    builder.rebalance()
    builder.get_ring().save(path)
"""
DEFAULTS = "bind_ip = 127.0.0.1\nworkers = 0\nlog_level = ERROR\nlog_address = /dev/null\n"
BACKEND = "[pipeline:main]\npipeline = {name}-server\n[app:{name}-server]\nuse = egg:swift#{name}\n"
PROXY = f"""
[pipeline:main]
pipeline = catch_errors cache s3api tempauth copy bulk slo proxy-server
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
[filter:cache]
use = egg:swift#memcache
memcache_servers = 127.0.0.1:1
[filter:tempauth]
use = egg:swift#tempauth
user_test_tester = {SECRET} .admin
user_test_reader = {READING}
"""
FILTERS = "".join(f"[filter:{name}]\nuse = egg:swift#{name}\n" for name in ("catch_errors", "s3api", "copy"))
FILTERS += "".join(f"[filter:{name}]\nuse = egg:swift#{name}\n" for name in ("bulk", "slo"))


def credentials(address: str, key: str = KEY, secret: str = SECRET) -> dict[str, str]:
    """Return the variables by which a program finds the store and may use it."""
    known = {"AWS_ACCESS_KEY_ID": key, "AWS_SECRET_ACCESS_KEY": secret, "AWS_ENDPOINT_URL_S3": address}
    own = {"AWS_DEFAULT_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true", "AWS_MAX_ATTEMPTS": "2"}
    return known | own


class ObjectStore:
    """Swift, and one bucket."""

    def __init__(self, folder: Path) -> None:
        """Write the settings; used in a `with` statement, it runs."""
        (folder / "devices/d1").mkdir(parents=True)
        self.folder = folder
        self.ports = {name: free_port() for name in (*BACKENDS, "proxy")}
        self.address = f"http://127.0.0.1:{self.ports['proxy']}"
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        (folder / "swift.conf").write_text("[swift-hash]\nswift_hash_path_suffix = tests\n")
        for name, port in self.ports.items():
            places = (
                f"bind_port = {port}\nswift_dir = {folder}\ndevices = {folder}/devices\nmount_check = false\n"
            )
            rest = PROXY + FILTERS if name == "proxy" else BACKEND.format(name=name)
            (folder / f"{name}.conf").write_text(f"[DEFAULT]\n{DEFAULTS}{places}{rest}")
        rings = [f"{folder / name}.ring.gz:{self.ports[name]}" for name in BACKENDS]
        subprocess.run([sys.executable, "-c", RINGS, *rings], check=True)

    def start(self, *names: str) -> None:
        """Start what does not run, by default all of it, and wait until it takes connections."""
        ends_with_us = functools.partial(supervision.die_with_parent, signal.SIGTERM, os.getpid())
        for name in names or self.ports:
            code = f"from swift.{BACKENDS.get(name, name)}.server import main; main()"
            command = [sys.executable, "-c", code, str(self.folder / f"{name}.conf")]
            with (self.folder / f"{name}.log").open("ab") as log:
                self.running[name] = subprocess.Popen(
                    command,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                    preexec_fn=ends_with_us,  # noqa: PLW1509
                )
        deadline = time.monotonic() + 60
        for name in names or self.ports:
            while not takes_connections(self.ports[name]):
                assert time.monotonic() < deadline, (self.folder / f"{name}.log").read_text()
                time.sleep(0.05)

    def stop(self, *names: str) -> None:
        """End all of it, or a part."""
        ended = [self.running.pop(name) for name in names or [*self.running]]
        for process in ended:
            os.killpg(process.pid, signal.SIGTERM)
        for process in ended:
            process.wait()

    def client(self) -> Any:
        """Return botocore's client."""
        import botocore.session

        opened = botocore.session.get_session()
        return opened.create_client(
            "s3",
            endpoint_url=self.address,
            region_name="us-east-1",
            aws_access_key_id=KEY,
            aws_secret_access_key=SECRET,
        )

    def __enter__(self) -> Self:
        """Start it and make the bucket."""
        self.start()
        self.client().create_bucket(Bucket=BUCKET, ACL="public-read")  # only the first key may write
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def names(self, prefix: str) -> list[str]:
        """Return the objects below a prefix."""
        found = self.client().list_objects_v2(Bucket=BUCKET, Prefix=prefix).get("Contents", [])
        return [entry["Key"].removeprefix(prefix) for entry in found]

    def remove(self, prefix: str) -> None:
        for name in self.names(prefix):
            self.client().delete_object(Bucket=BUCKET, Key=prefix + name)


def takes_connections(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


@pytest.fixture(scope="module")
def object_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectStore]:
    with ObjectStore(tmp_path_factory.mktemp("objects")) as made:
        yield made


@pytest.fixture
def gate(object_store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    """The way to the store of all that runs in the test, with its first key."""
    made = Gate(object_store.ports["proxy"])
    for name, value in credentials(made.address).items():
        monkeypatch.setenv(name, value)
    yield made
    made.shut()


def at_the_first_pause(act: Callable[[], object], monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Act when this thread begins to wait for what is away; return its pauses."""
    slept: list[float] = []
    here, real = threading.current_thread(), time.sleep

    def sleep(seconds: float) -> None:
        if threading.current_thread() is here:
            slept.append(seconds)
            if len(slept) == 1:
                act()
        real(seconds)

    monkeypatch.setattr(patience.time, "sleep", sleep)
    return slept
