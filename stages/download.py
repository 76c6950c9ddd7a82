"""Fetch and verify the labelled text or images and the base model.

params `source`, `base`, `student_base`, `corrections` and the sources of `tasks`; `inbox/` -> `data/raw/` (of
tasks `data/raw/tasks/NAME`), `data/base/`. Run by DVC: `sh stages/run download`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from baton import console, params, storage, tracking
from baton.errors import within
from baton.sources import base_model, fetching

RAW = Path("data/raw")
BASE = Path("data/base")


def main() -> None:
    """Fetch both; files fetched before come from the cache."""
    active = params.load("source", "base", "student_base", "tasks", "corrections")
    # The base model comes first, so that a mistake in it shows before all images are copied.
    base_model.fetch_base(active.base, BASE, tracking.logged_model, active.student_base)
    with storage.atomic_folder(RAW) as raw:
        fetching.fetch_source(active.source, raw, active.corrections)
        for name, own in active.tasks.items():
            if own.source:
                with within(f"tasks.{name}"):
                    fetching.fetch_source(own.source, storage.of_task(raw, name))
    tasks = [storage.of_task(RAW, name) for name in storage.tasks(RAW)]
    for folder in (RAW, *tasks, BASE, *([BASE / storage.STUDENT] if active.student_base else [])):
        manifest = storage.read_json(folder / "manifest.json")
        show(folder, manifest)


def show(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Print what was fetched into a folder; an origin that all files share is named once."""
    title, files = f"{folder}, licence: {manifest['licence']}", manifest["files"].values()
    rows = [(file["path"], f"{file['bytes']:,}", file["sha256"][:12]) for file in files]
    shared = {file["origin"].removesuffix(f"/{file['path']}") for file in files}
    if len(shared) == 1 and all(file["origin"].endswith(f"/{file['path']}") for file in files):
        console.table(f"{title}, from {shared.pop()}", ("file", "bytes", "sha256"), rows)
        return
    rows = [(*row, file["origin"]) for row, file in zip(rows, files, strict=True)]
    console.table(title, ("file", "bytes", "sha256", "origin"), rows)


if __name__ == "__main__":
    console.run_stage(main)
