"""What the cards say beside the tables of the report: origin of data and base model, digests, packages.

Input: `Project`, the files that `evaluate` depends on -> `Facts`. Nothing here has a time, so the same inputs
give the same card.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from baton import storage
from baton.contracts import input_spec
from baton.contracts.input_spec import (
    AudioInput,
    Head,
    HeadTail,
    ImageInput,
    ImageTextInput,
    InputSpec,
    Tail,
    TextInput,
    Truncation,
    Windows,
)
from baton.evaluate.report.html.csv_reading import Reports

MANIFEST = "manifest.json"  # of data/raw and data/base
PACKAGES = ("torch", "transformers", "timm", "peft", "safetensors", "scikit-learn", "numpy")


@dataclass(frozen=True)
class Project:
    """Where everything lies that the cards are made from."""

    reports: Reports
    raw: Path  # data/raw
    base: Path  # data/base
    models: Mapping[str, Path]  # model -> its folder
    lock: Path  # requirements.lock
    description: str
    settings: Mapping[str, Any]  # section of params -> its values, as JSON has them


class Facts:
    """The facts of one project; what an earlier version did not write is left out."""

    def __init__(self, project: Project) -> None:
        """Wrap the files, which are read when they are asked for."""
        self.project = project

    @cached_property
    def source(self) -> dict[str, Any]:
        """The manifest of data/raw."""
        return self._json(self.project.raw / MANIFEST)

    @cached_property
    def base(self) -> dict[str, Any]:
        """The manifest of the base model."""
        return self._json(self.project.base / MANIFEST)

    @cached_property
    def student_base(self) -> dict[str, Any]:
        """The manifest of the student's own base model; empty if it has none."""
        return self._json(self.project.base / storage.STUDENT / MANIFEST)

    @cached_property
    def other_sources(self) -> dict[str, dict[str, Any]]:
        """Name of a further task -> the manifest of its own data."""
        names = storage.tasks(self.project.raw)
        found = {name: self._json(storage.of_task(self.project.raw, name) / MANIFEST) for name in names}
        return {name: own for name, own in found.items() if own}

    @cached_property
    def clean(self) -> dict[str, Any]:
        """The report of `preprocess`."""
        return self._json(self.project.reports.clean / "report.json")

    @cached_property
    def arrays(self) -> dict[str, Any]:
        """The report of `tokenize`."""
        return self._json(self.project.reports.arrays / "report.json")

    @cached_property
    def meta(self) -> dict[str, Any]:
        """What `tokenize` says of input and task."""
        return self._json(self.project.reports.arrays / "meta.json")

    @cached_property
    def input(self) -> InputSpec | None:
        """What the models read."""
        described = self.meta.get("input")
        return input_spec.read(described) if described else None

    @property
    def names(self) -> list[str]:
        """The names of classes, labels, types or numbers; none if there are no names."""
        return list(self.meta.get("task", {}).get("names", []))

    @property
    def reads(self) -> str:
        """What the models read, in words."""
        return "" if self.input is None else reading(self.input)

    @cached_property
    def digests(self) -> dict[str, str]:
        """Name of a model -> sha256 of its folder, by which a registered version knows its card."""
        there = {name: path for name, path in self.project.models.items() if path.is_dir()}
        return {name: storage.sha256_tree(path) for name, path in there.items()}

    @property
    def test_digest(self) -> str:
        """The sha256 of the test table; empty if it is missing."""
        path = self.project.reports.clean / "test.parquet"
        return storage.sha256(path) if path.is_file() else ""

    @property
    def settings_digest(self) -> str:
        """The sha256 of the settings."""
        return hashlib.sha256(json.dumps(self.project.settings, sort_keys=True).encode()).hexdigest()

    @property
    def versions(self) -> list[tuple[str, str]]:
        """The packages that matter most for a model, and their locked versions."""
        if not self.project.lock.is_file():
            return []
        lines = self.project.lock.read_text(encoding="utf-8").splitlines()
        # A line goes on with digests after a backslash, or with a marker after a semicolon.
        pins = (re.match(r"([\w.-]+)==([^\s;\\]+)", line) for line in lines)
        pinned = {pin[1]: pin[2] for pin in pins if pin}
        return [(name, pinned[name]) for name in PACKAGES if name in pinned]

    def _json(self, path: Path) -> dict[str, Any]:
        return self.project.reports.json(path)


def reading(spec: InputSpec) -> str:
    """Return in words what a model with this input reads of a row."""
    match spec:
        case TextInput():
            what = "a pair of texts" if spec.pair else "a text"
            return (
                f"{what}, at most {spec.max_length} tokens at once; of a longer one {_part(spec.truncation)}"
            )
        case ImageInput():
            height, width = spec.size
            return f"an image, as {height} × {width} pixels with {spec.channels} channels"
        case AudioInput():
            kilohertz = f"{spec.sample_rate / 1000:g} kHz"
            part = "the beginning" if spec.part == "head" else "the middle"
            return f"a clip of sound, {spec.seconds:g} s of it at {kilohertz}; of a longer one {part}"
        case ImageTextInput():
            return f"{reading(spec.image)}, and {reading(spec.text)}"


def _part(cut: Truncation) -> str:
    match cut:
        case Head():
            return "its beginning"
        case Tail():
            return "its end"
        case HeadTail():
            return "its beginning and its end"
        case Windows():
            return f"up to {cut.most} windows"
