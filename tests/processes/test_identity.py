"""A living process is never taken for dead: other containers, other clocks, other boots."""

import dataclasses
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from baton.processes import identity
from baton.processes.identity import FIRST_NAMESPACE, Process

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")


@pytest.fixture
def child() -> Iterator[psutil.Process]:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        yield psutil.Process(process.pid)
        process.kill()


def placed(process: Process, **changes: str) -> Process:
    """Return a process of the same name and number in another place."""
    where, _, spot = process.name.partition("@")
    keys = ("boot", "namespace", "machine")
    known = dict(zip(keys, spot.split("."), strict=True)) | changes
    return dataclasses.replace(process, name=f"{where}@{'.'.join(known[key] for key in keys)}")


def test_a_process_that_lives_has_not_ended_until_it_has(child: psutil.Process) -> None:
    own = identity.described(child)
    assert own.same(identity.described(child)) and not own.ended()
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert own.ended(), "also while nobody has asked for its end"


def test_a_number_that_was_given_again_is_another_process(child: psutil.Process) -> None:
    own = identity.described(child)
    earlier = dataclasses.replace(own, started=own.started - 0.02)
    assert not earlier.same(own) and earlier.ended()


def test_a_clock_that_is_set_kills_nothing(child: psutil.Process, monkeypatch: pytest.MonkeyPatch) -> None:
    """Start times by the clock moved with it, and a running training was marked as killed."""
    own = identity.described(child)
    before = child.create_time()
    monkeypatch.setattr(psutil.Process, "create_time", lambda _: before + 3600)
    assert own.same(identity.described(child)) and not own.ended()
    by_clock = Process(own.name.partition("@")[0], before)
    assert by_clock.ended(), "negative control: as it was"


def test_a_container_of_the_same_host_name_is_another_place(child: psutil.Process) -> None:
    """Its processes have other numbers, so they looked as if they were gone."""
    own = identity.described(child)
    missing = dataclasses.replace(own, name=own.name.replace(f":{child.pid}@", ":4194000@"))
    assert missing.ended(), "negative control: of this place it is certain"
    for changes in ({"namespace": "4026999999"}, {"boot": "0" * 32, "machine": "f" * 16}, {"boot": "0" * 32}):
        other = placed(missing, **{"namespace": "4026999999"} | changes)
        assert not other.ended(), changes


def test_what_ran_before_the_machine_was_started_again_has_ended(
    child: psutil.Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = f"{'a' * 32}.{FIRST_NAMESPACE}.{'b' * 16}"
    monkeypatch.setattr(identity, "place", lambda: here)
    own = identity.described(child)
    assert not own.ended()
    assert placed(own, boot="0" * 32).ended()
    assert not placed(own, boot="0" * 32, machine="c" * 16).ended()
    assert not placed(own, boot="0" * 32, machine="").ended()
    monkeypatch.setattr(identity, "place", lambda: here.replace(FIRST_NAMESPACE, "4026999999"))
    assert not placed(own, boot="0" * 32, namespace="4026999999").ended(), "in containers nothing is certain"


def test_records_of_earlier_versions_are_understood(child: psutil.Process) -> None:
    own = Process(f"{os.uname().nodename}:{child.pid}", child.create_time() + 1)
    assert not own.ended()
    child.kill()
    child.wait()
    assert own.ended()


def test_without_proc_it_is_as_before(
    child: psutil.Process, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(identity, "PROC", tmp_path)
    identity.place.cache_clear()
    try:
        own = identity.described(child)
        assert "@" not in own.name and not own.ended()
    finally:
        identity.place.cache_clear()
