"""Fixtures of data tests: a separate cache, tiny wheels for the real pip, a web server, settings."""

import hashlib
import os
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from baton import params
from baton.sources import fetch_cache
from tests.local_server import LocalServer

KEEP_IMAGES = dict.fromkeys(params.ImageChecks.model_fields, "keep") | dict.fromkeys(
    ("malformed", "unreadable", "enormous", "missing_label"), "drop"
)
KEEP_AUDIO = dict.fromkeys(params.AudioChecks.model_fields, "keep") | dict.fromkeys(
    ("malformed", "unreadable", "enormous", "missing_label"), "drop"
)
CLASSES = params.ClassesTask(kind="classes")
KEEP = dict.fromkeys(params.Checks.model_fields, "keep") | {"malformed": "drop", "missing_label": "drop"}


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of fetched files, and an index; attempts follow each other immediately."""
    folder = tmp_path / "fetched"
    monkeypatch.setattr(fetch_cache, "_index", lambda key: tmp_path / "own/index" / fetch_cache._name(key))
    monkeypatch.setenv("BATON_FETCHED", str(folder))
    monkeypatch.setattr(fetch_cache, "DELAYS", (0.0,))
    return folder


@pytest.fixture
def workplace(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory."""
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalServer]:
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    running = LocalServer()
    yield running
    running.close()


@pytest.fixture
def wheelhouse(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder in which pip looks for wheels."""
    folder = tmp_path / "wheelhouse"
    folder.mkdir()
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    for name, value in {
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(folder),
    }.items():
        monkeypatch.setenv(name, value)
    return folder


@pytest.fixture
def build_wheel(wheelhouse: Path) -> Callable[..., str]:
    """`build_wheel({member: bytes})` puts toy-1.0 into the wheelhouse and returns its sha256."""

    def build(members: dict[str, bytes], links: tuple[str, ...] = ()) -> str:
        path = wheelhouse / "toy-1.0-py3-none-any.whl"
        metadata = {
            "toy-1.0.dist-info/METADATA": b"Metadata-Version: 2.1\nName: toy\nVersion: 1.0\n",
            "toy-1.0.dist-info/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        }
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in (members | metadata | {"toy-1.0.dist-info/RECORD": b""}).items():
                info = zipfile.ZipInfo(name)
                info.external_attr = (0o120777 if name in links else 0o100644) << 16
                archive.writestr(info, content)
        return hashlib.sha256(path.read_bytes()).hexdigest()

    return build


@pytest.fixture
def settings() -> Callable[..., params.TextPreprocess]:
    """`settings(limit=…, checks={…})`: preprocess settings for a CSV with the columns text and label.

    Every check keeps as many rows as it can.
    """

    def build(checks: dict[str, str] | None = None, **changes: Any) -> params.TextPreprocess:
        values: dict[str, Any] = {
            "kind": "text",
            "format": {
                "kind": "delimited",
                "encoding": "auto",
                "escape": None,
                "delimiter": ",",
                "quote": '"',
                "skip_lines": 0,
                "columns": None,
            },
            "text_column": "text",
            "text_pair_column": None,
            "keep_columns": [],
            "group_column": None,
            "time_column": None,
            "weight_column": None,
            "label_column": "label",
            "label_names": {},
            "validation": {"kind": "share", "share": 0.2},
            "test": {"kind": "share", "share": 0.2},
            "limit": {"train": None, "test": None},
            "shots": None,
            "seed": 0,
            "max_dropped": {"rows": 1.0, "rows_of_class": 1.0},
        }
        return params.TextPreprocess.model_validate(
            values | changes | {"checks": KEEP | (checks or {})}, strict=False
        )

    return build


@pytest.fixture
def image_settings() -> Callable[..., params.ImagePreprocess]:
    """`image_settings({check: policy}, limit=…)`: preprocess settings for raw tables of images.

    Every check keeps as many rows as it can.
    """

    def build(checks: dict[str, str] | None = None, **changes: Any) -> params.ImagePreprocess:
        values: dict[str, Any] = {
            "kind": "images",
            "image_column": "image",
            "label_column": "label",
            "label_names": {},
            "validation": {"kind": "share", "share": 0.2},
            "test": {"kind": "share", "share": 0.2},
            "limit": {"train": None, "test": None},
            "shots": None,
            "seed": 0,
            "max_dropped": {"rows": 1.0, "rows_of_class": 1.0},
            "max_pixels": 1_000_000,
            "significant_bits": "auto",
        }
        return params.ImagePreprocess.model_validate(
            values | changes | {"checks": KEEP_IMAGES | (checks or {})}, strict=False
        )

    return build


@pytest.fixture
def audio_settings() -> Callable[..., params.AudioPreprocess]:
    """`audio_settings({check: policy}, limit=…)`: preprocess settings for raw tables of clips.

    Every check keeps as many rows as it can.
    """

    def build(checks: dict[str, str] | None = None, **changes: Any) -> params.AudioPreprocess:
        values: dict[str, Any] = {
            "kind": "audio",
            "audio_column": "audio",
            "label_column": "label",
            "label_names": {},
            "validation": {"kind": "share", "share": 0.2},
            "test": {"kind": "share", "share": 0.2},
            "limit": {"train": None, "test": None},
            "shots": None,
            "seed": 0,
            "max_dropped": {"rows": 1.0, "rows_of_class": 1.0},
            "max_seconds": 10.0,
        }
        return params.AudioPreprocess.model_validate(
            values | changes | {"checks": KEEP_AUDIO | (checks or {})}, strict=False
        )

    return build
