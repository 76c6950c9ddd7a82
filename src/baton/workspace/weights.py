"""Trained weights in DVC's cache: whether there is room for them, and removing those of one experiment."""

import shutil
from collections.abc import Sequence
from pathlib import Path

from baton.errors import OutputError
from baton.workspace import dvc_graph

MODELS = Path("models")
WEIGHTS = ".safetensors"


def check_room(copy: Path, left: int) -> None:
    """Check that the disk has room for the models of the experiments that are left.

    They are taken to be like those of the last one.

    Raises:
        OutputError: it has not.
    """
    size = sum(file.stat().st_size for file in (copy / MODELS).rglob("*") if file.is_file())
    free = shutil.disk_usage(copy).free
    if size * left > free:
        raise OutputError(
            "the disk has no room for the models of all experiments",
            got=f"{free / 1e9:,.1f} GB free, {left} experiments left of {size / 1e9:,.2f} GB each",
            hint="use --no-models, or fewer strategies, labels or seeds; what is done is kept",
        )


def forget(commit: str, stages: Sequence[str], since: float) -> None:
    """Remove an experiment's weights from DVC's cache, if they were written later than `since`.

    `since` is in seconds since 1970. What was in the cache before may belong to something else.
    """
    graph = dvc_graph.of_commit(commit)
    outs = [own for stage in stages for own in graph.outs(stage).items()] if graph is not None else []
    for path, digest in outs:
        if Path(path).parts[0] != str(MODELS):
            continue
        for name, place in dvc_graph.files_of(digest).items():
            if name.endswith(WEIGHTS) and place.is_file() and place.stat().st_mtime >= since:
                place.unlink()
