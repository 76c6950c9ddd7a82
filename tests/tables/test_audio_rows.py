"""Folders and tables of clips to clean tables: faults are named, copies are found by their sound."""

import csv
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from baton import params
from baton.errors import DataError, SourceError
from baton.sources import fetching
from baton.tables import checks, clean
from tests.audio_files import RATE, bomb, melody, noise, saved, tone
from tests.data_fixtures import CLASSES
from tests.image_files import put

Settings = Callable[..., params.AudioPreprocess]
RAW, TARGET = Path("data/raw"), Path("data/clean")
QUIET = np.zeros(RATE, np.float32)
STEREO = np.stack([melody(1), melody(2)], 1)
FINE = {  # name -> content, notes in the report
    "deep.wav": (saved(melody(3), "WAV", "PCM_24"), {"16000 Hz", "24 bits"}),
    "stereo.flac": (saved(STEREO, "FLAC"), {"16000 Hz", "2 channels mixed"}),
    "wired.wav": (saved(STEREO[:, :1] * [[1, -1]]), {"16000 Hz", "opposite phases: first channel"}),
    "low.ogg": (saved(melody(4, rate=8000), "OGG", rate=8000), {"8000 Hz"}),
    "offset.aiff": (saved(melody(5) + 0.2, "AIFF"), {"16000 Hz", "DC offset"}),
}
DOUBTFUL = {  # name -> content, check, reason
    "misnamed.wav": (saved(melody(6), "FLAC"), "misnamed", "FLAC, but named .wav"),
    "silent.wav": (saved(QUIET), "silent", "nothing can be heard in its 1.00 s"),
    "clipped.wav": (saved(np.clip(melody(7, level=2.0), -1, 1)), "clipped", "of its samples are cut off"),
}
BAD = {
    "empty.wav": (b"", "unreadable", "empty: 0 bytes"),
    "none.wav": (saved(np.zeros(0)), "unreadable", "zero length: no samples"),
    "text.wav": (b"<html>404</html>", "unreadable", "not a format that is read"),
    "cut.wav": (saved(tone())[:-100], "unreadable", "truncated: 100 of 32,000 bytes"),
    "cut.flac": (saved(melody(8), "FLAC")[:-60], "unreadable", "broken or truncated"),
    "bomb.flac": (bomb(), "enormous", "enormous: 36,000 s"),
    "long.wav": (saved(tone(seconds=11.0)), "enormous", "enormous: 11 s, more than 10"),
}


@pytest.fixture
def album(workplace: Path) -> Path:
    """Create inbox/album: a class of ordinary clips, and one that also has one of each kind."""
    for label, seed in (("odd", 100), ("plain", 200)):
        for number in range(12):
            put(f"inbox/album/{label}/{number}.wav", saved(melody(seed + number, 0.3)))
    for name, (content, *_) in (FINE | DOUBTFUL | BAD).items():
        put(f"inbox/album/odd/{name}", content)
    put("inbox/album/stray.wav", saved(melody(99)))
    put("inbox/album/README", b"about this album")
    return workplace


def fetch(**changes: Any) -> None:
    values = {
        "kind": "folder",
        "package": None,
        "only": ("*",),
        "label": "folder",
        "content": "audio",
        "folders": params.Files(train="inbox/album"),
    }
    fetching.fetch_source(params.FolderSource(**values | {"licence": "mine"} | changes), RAW)


def names() -> dict[str, str]:
    """Return file name -> row id."""
    found = pq.read_table(RAW / "train.parquet", columns=["name"])["name"].to_pylist()
    return {Path(name).name: f"train:{number}" for number, name in enumerate(found, start=1)}


DROP = dict.fromkeys(params.AudioChecks.model_fields, "drop") | dict.fromkeys(
    ("drift", *checks.STAYING), "keep"
)


def test_one_of_each_is_named_with_its_reason(album: Path, audio_settings: Settings) -> None:
    fetch()
    report = clean.clean(RAW, TARGET, audio_settings(DROP), CLASSES)
    found, of = report["checks"], names()
    assert "README" not in of
    for name, (_, check, reason) in (DOUBTFUL | BAD).items():
        assert reason in found[check]["reasons"][of[name]], name
        assert f"odd/{name}: " in found[check]["reasons"][of[name]]
        assert of[name] in found[check]["dropped_rows"]
    assert found["missing_label"]["reasons"] == {of["stray.wav"]: "no label"}
    named = sum(len(check["rows"]) for name, check in found.items() if name != "drift")
    assert named == len(DOUBTFUL) + len(BAD) + 1, "and no others"
    notes = report["decoded"]["train"]["notes"]
    assert {note for _, own in FINE.values() for note in own} <= set(notes)
    left = [row for split in clean.SPLITS for row in pq.read_table(TARGET / f"{split}.parquet").to_pylist()]
    assert {row["name"] for row in left} == {f"odd/{name}" for name in FINE} | {
        f"{label}/{number}.wav" for label in ("odd", "plain") for number in range(12)
    }
    assert next(row["audio"] for row in left if row["name"] == "odd/deep.wav") == FINE["deep.wav"][0]
    assert report == json.loads((TARGET / "report.json").read_text())


def test_policies(album: Path, audio_settings: Settings) -> None:
    fetch()
    report = clean.clean(RAW, TARGET, audio_settings(), CLASSES)
    of = names()
    kept = {
        id_ for split in clean.SPLITS for id_ in pq.read_table(TARGET / f"{split}.parquet")["id"].to_pylist()
    }
    assert {of[name] for name in DOUBTFUL} <= kept and not {of[name] for name in BAD} & kept
    assert report["checks"]["silent"]["dropped_rows"] == []
    with pytest.raises(DataError) as caught:
        clean.clean(
            RAW, TARGET, audio_settings(dict.fromkeys(params.AudioChecks.model_fields, "fail")), CLASSES
        )
    for part in ("unreadable: 5 rows", "enormous: 2 rows", "silent: 1 rows", "odd/empty.wav: empty: 0 bytes"):
        assert part in str(caught.value)


def test_copies_in_other_lossless_formats_are_duplicates(workplace: Path, audio_settings: Settings) -> None:
    sound = np.round(melody(0) * 2**15) / 2**15
    for number in range(8):
        put(f"inbox/album/a/{number}.wav", saved(melody(10 + number)))
        put(f"inbox/album/b/{number}.wav", saved(melody(30 + number)))
    put("inbox/album/a/one.wav", saved(sound, "WAV", "PCM_24"))
    put("inbox/album/a/other.flac", saved(np.stack([sound, sound], 1), "FLAC", "PCM_16"))
    put("inbox/album/b/third.aiff", saved(sound, "AIFF"))
    fetch()
    report = clean.clean(RAW, TARGET, audio_settings({"duplicate": "drop", "conflict": "keep"}), CLASSES)
    of = names()
    assert report["checks"]["duplicate"]["reasons"] == {of["other.flac"]: f"the same as {of['one.wav']}"}
    assert of["third.aiff"] in report["checks"]["conflict"]["rows"]


def test_copies_with_loss_another_rate_or_gain_are_near_duplicates(
    workplace: Path, audio_settings: Settings
) -> None:
    for number in range(8):
        put(f"inbox/album/a/{number}.wav", saved(melody(10 + number)))
        put(f"inbox/album/b/{number}.wav", saved(noise(30 + number)))
    sound = melody(10)
    put("inbox/album/a/copy.mp3", saved(sound, "MP3"))
    put("inbox/album/a/copy.ogg", saved(sound, "OGG"))
    put("inbox/album/a/quiet.wav", saved(0.2 * sound))
    put("inbox/album/a/telephone.wav", saved(melody(10, rate=8000), rate=8000))
    fetch()
    report = clean.clean(RAW, TARGET, audio_settings(), CLASSES)
    of = names()
    found = report["checks"]["near_duplicate"]["reasons"]
    near = {of[name] for name in ("copy.mp3", "copy.ogg", "quiet.wav", "telephone.wav")}
    assert near <= set(found)
    assert set(found) <= near | {of["0.wav"]}, "no other melody or noise"


def test_a_table_of_paths(album: Path, audio_settings: Settings) -> None:
    rows = [(f"{label}/{n}.wav", label) for label in ("odd", "plain") for n in range(12)]
    with Path("inbox/list.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("path", "kind"), *rows, ("odd/gone.wav", "odd"), ("../x.wav", "odd")])
    source = params.TableSource(
        kind="table",
        content="audio",
        files=params.Files(train="inbox/list.csv"),
        format=params.DelimitedFormat(
            kind="delimited",
            encoding="auto",
            escape=None,
            delimiter=",",
            quote='"',
            skip_lines=0,
            columns=None,
        ),
        folder="inbox/album",
        path_column="path",
        label_column="kind",
        licence="mine",
    )
    fetching.fetch_source(source, RAW)
    report = clean.clean(RAW, TARGET, audio_settings(), CLASSES)
    assert sum(report["rows"]["clean"].values()) == len(rows)
    reasons = report["checks"]["malformed"]["reasons"]
    assert "no such file" in reasons["train:25"] and "leaves" in reasons["train:26"]


def test_a_folder_of_images_is_not_one_of_clips(album: Path, audio_settings: Settings) -> None:
    fetch(content="images")
    with pytest.raises(DataError, match="no column 'audio'"):
        clean.clean(RAW, TARGET, audio_settings(), CLASSES)
    put("inbox/empty/x.wav", b"")
    with pytest.raises(SourceError, match="one folder of clips per class"):
        fetch(folders=params.Files(train="inbox/empty"))


def test_threads_find_scipy_imported() -> None:
    """Two threads that import two parts of it first, at the same time, may find one of them half imported."""
    found = "import sys\nfrom baton.tables import audio_rows\naudio_rows.read_all({}, None)\n"
    found += "assert {'scipy.signal', 'scipy.fftpack'} <= set(sys.modules)"
    subprocess.run([sys.executable, "-c", found], check=True)
