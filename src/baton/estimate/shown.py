"""The table of `baton estimate`, and the one with what the stages took."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from baton import console
from baton.tracking.durations import Spent

NONE = "–"


@dataclass(frozen=True)
class Estimated:
    """What a stage will take; no seconds: it is cached, or not estimated for a reason."""

    seconds: float | None = None
    memory: int | None = None  # bytes, peak of the process (on CUDA, of the device)
    disk: int | None = None  # bytes that it adds
    cached: bool = False
    reason: str | None = None
    notes: Sequence[str] = ()
    parts: Mapping[str, float] = field(default_factory=dict)  # seconds
    runs: Mapping[str, Any] = field(default_factory=dict)  # model -> what was timed
    device: str = "cpu"  # whose memory it is


def table(found: Mapping[str, Estimated]) -> None:
    """Print the estimates of the stages, and their sum."""
    rows = [
        (stage, _minutes(own), _bytes(own.memory), _bytes(own.disk), _parts(own))
        for stage, own in found.items()
    ]
    known = [own for own in found.values() if own.seconds is not None]
    if len(known) > 1:
        least = "at least " if any(own.reason for own in found.values()) else ""
        minutes = least + minutes_of(sum(own.seconds or 0.0 for own in known))
        memory, disk = max(own.memory or 0 for own in known), sum(own.disk or 0 for own in known)
        rows.append(("all", minutes, _bytes(memory), _bytes(disk), ""))
    console.table("Estimate", ("stage", "minutes", "memory", "disk", "of which minutes"), rows)
    for stage, own in found.items():
        if own.reason:
            console.say(f"{stage} is not estimated: {own.reason}")
        for note in own.notes:
            console.say(f"{stage}: {note}")


def warn(found: Mapping[str, Estimated], memory: int, disk: int) -> None:
    """Warn if stages need more than there is: `memory` (of the host) and `disk` are the free bytes."""
    for stage, own in found.items():
        if own.device == "cpu" and own.memory and own.memory > memory:
            console.warn(stage, f"it needs {_bytes(own.memory)} of memory, and {_bytes(memory)} are free")
    needed = sum(own.disk or 0 for own in found.values())
    if needed > disk:
        console.warn("disk", f"the stages write {_bytes(needed)}, and {_bytes(disk)} are free")


def beside(found: Mapping[str, Estimated], spent: Mapping[str, Spent | None], made: str) -> None:
    """Print estimate and actual of each stage that is timed; `made` says when the estimate was."""
    rows = []
    for stage, took in spent.items():
        own = found.get(stage, Estimated())
        ratio = NONE
        if own.seconds and took:
            ratio = f"{took.seconds / own.seconds - 1:+.0%}"
        minutes = NONE if took is None else minutes_of(took.seconds)
        memory = NONE if took is None else _bytes(took.memory)
        rows.append((stage, _minutes(own), minutes, ratio, _bytes(own.memory), memory))
    columns = ("stage", "minutes, estimate", "actual", "differs", "memory, estimate", "actual")
    console.table(f"Estimate of {made}, and what the stages took when they last ran here", columns, rows)
    for stage, took in spent.items():
        if took is None:
            console.say(f"{stage}: its results were not made in this checkout, so its time is not known")


def minutes_of(seconds: float) -> str:
    """Return seconds as minutes, with a decimal if they are few."""
    return f"{seconds / 60:.1f}" if seconds < 6000 else f"{seconds / 60:.0f}"


def _minutes(own: Estimated) -> str:
    if own.cached:
        return "cached"
    return "not estimated" if own.seconds is None else minutes_of(own.seconds)


def _bytes(count: int | None) -> str:
    if count is None:
        return NONE
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"


def _parts(own: Estimated) -> str:
    return ", ".join(f"{name} {minutes_of(seconds)}" for name, seconds in own.parts.items())
