"""Raw tables of texts as `download` leaves them, for tests of `preprocess`."""

import json
from pathlib import Path

RAW = Path("data/raw")


def texts(name: str, **counts: int) -> list[tuple[str, str]]:
    return [(f"{name} {label} {number}", label) for label, count in counts.items() for number in range(count)]


def csv(rows: list[tuple[str, ...]], header: str = "text,label") -> bytes:
    lines = (",".join((f'"{text}"', *others)) for text, *others in rows)
    return "\n".join([header, *lines, ""]).encode()


def write_raw(**files: tuple[str, bytes]) -> None:
    """Write raw files, split -> (name, content), and the manifest."""
    RAW.mkdir(parents=True, exist_ok=True)
    for name, content in files.values():
        (RAW / name).parent.mkdir(parents=True, exist_ok=True)
        (RAW / name).write_bytes(content)
    entries = {split: {"path": Path(name).parts[0]} for split, (name, _) in files.items()}
    (RAW / "manifest.json").write_text(json.dumps({"files": entries}))
