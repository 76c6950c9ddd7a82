"""Files that a retraining job edits for itself: params.yaml and the record of promotions.

They come back as they were unless the job's commit holds them: what a job changed must not become what the
next one starts from, or what the user finds. Params come back even after SIGKILL, at the start of the next
job.
"""

import contextlib
import hashlib
from collections.abc import Iterator
from pathlib import Path

from baton import console, params, storage
from baton.lifecycle.promotion.promotion_record import RECORD
from baton.processes import locks
from baton.workspace.commands import attempt


@contextlib.contextmanager
def lent() -> Iterator[None]:
    """Give the files back at the end, whatever happens inside.

    Raises:
        OutputError: another job works in this checkout.
    """
    with locks.alone(_kept().parent / "lock", "retraining works in this checkout"):
        take_back()
        storage.write_json(_kept(), {"before": _text(params.PATH), "written": []})
        record = RECORD.read_bytes() if RECORD.is_file() else None
        try:
            yield
        finally:
            take_back()
            if not _as_committed(RECORD):
                _restore(RECORD, record)


def write(text: str) -> None:
    """Write params.yaml for this job; inside `lent`."""
    kept = storage.read_json(_kept())
    kept["written"].append(_digest(text))
    storage.write_json(_kept(), kept)
    with storage.atomic_file(params.PATH) as temporary:
        temporary.write_text(text, encoding="utf-8")


def take_back() -> None:
    """Restore params.yaml after a job that edited it and did not commit it, if there was one."""
    kept = storage.read_state(_kept())
    if not kept.keys() >= {"before", "written"}:
        return
    now = _text(params.PATH) if params.PATH.is_file() else ""
    if now != kept["before"] and not _as_committed(params.PATH):
        if _digest(now) in kept["written"]:
            _restore(params.PATH, kept["before"].encode())
        else:  # somebody has edited it since the job was killed
            console.warn(
                str(params.PATH), "was edited after a killed retraining, whose own changes are in it too"
            )
    _kept().unlink(missing_ok=True)


def _kept() -> Path:
    return storage.state("retrain") / "params.json"


def _text(path: Path) -> str:
    """Return a file's text with its own ends of lines."""
    return path.read_bytes().decode("utf-8")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _as_committed(path: Path) -> bool:
    known = attempt("git", "ls-files", "--error-unmatch", "--", str(path)).returncode == 0
    return known and attempt("git", "diff", "--quiet", "HEAD", "--", str(path)).returncode == 0


def _restore(path: Path, content: bytes | None) -> None:
    if content is None:
        path.unlink(missing_ok=True)
    elif not path.is_file() or path.read_bytes() != content:
        with storage.atomic_file(path) as temporary:
            temporary.write_bytes(content)
