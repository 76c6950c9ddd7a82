"""Images with texts: from a table of paths and texts, from files next to the images; and two base models."""

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from safetensors.numpy import load_file

from baton import params, storage
from baton.errors import SourceError
from baton.sources import base_model, fetching
from tests import tiny
from tests.image_files import noise, saved

RAW = Path("data/raw")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def put(files: dict[str, bytes]) -> None:
    for name, content in files.items():
        path = Path("inbox") / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def fetched(source: Any) -> list[dict[str, Any]]:
    fetching.fetch_source(source, RAW)
    rows: list[dict[str, Any]] = pq.read_table(RAW / "train.parquet").to_pylist()
    return rows


def test_a_table_has_a_column_of_texts() -> None:
    lines = ["path,text,label", 'a.png,"A cat, asleep",cat', "b.png,,dog", "c.png,gone,cat"]
    put({"a.png": saved(noise(0)), "b.png": saved(noise(1)), "t.csv": "\n".join(lines).encode()})
    csv = {
        "kind": "delimited",
        "encoding": "auto",
        "escape": None,
        "delimiter": ",",
        "quote": '"',
        "skip_lines": 0,
        "columns": None,
    }
    raw = {
        "kind": "table",
        "content": "images",
        "files": {"train": "inbox/t.csv"},
        "format": csv,
        "folder": "inbox",
    }
    raw |= {"path_column": "path", "text_column": "text", "label_column": "label", "licence": "mine"}
    rows = fetched(params.TableSource.model_validate(raw, strict=False))
    assert [row["text"] for row in rows] == [b"A cat, asleep", b"", b"gone"]
    assert [row["label"] for row in rows] == ["cat", "dog", "cat"] and "c.png" in rows[2]["problem"]


def test_texts_may_be_in_files_next_to_the_images() -> None:
    put(
        {
            "tree/cat/a.png": saved(noise(0)),
            "tree/cat/a.txt": b"A cat.\nde.utf8=Eine Katze. \nda.utf8=En kat.\n",
            "tree/cat/b.png": saved(noise(1)),
            "tree/cat/b.txt": b"Another cat.\n",
            "tree/dog/c.png": saved(noise(2)),
        }
    )
    raw = {
        "kind": "folder",
        "content": "images",
        "package": None,
        "label": "folder",
        "folders": {"train": "inbox/tree"},
        "only": "*.png",
        "licence": "mine",
    }

    def texts(mark: str) -> list[bytes]:
        own = raw | {"text": {"suffix": ".txt", "mark": mark}}
        return [row["text"] for row in fetched(params.FolderSource.model_validate(own, strict=False))]

    assert texts("de.utf8=") == [b"Eine Katze.", b"", b""]
    assert texts("") == [b"A cat.", b"Another cat.", b""]


def test_a_text_that_cannot_be_read_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would else be reported as a row without a text, or end the stage with a traceback."""
    put({f"tree/cat/{name}.png": saved(noise(place)) for place, name in enumerate("abcd")})
    put(
        {
            "tree/cat/a.txt": b"A cat.",
            "tree/cat/b.txt": b"x" * 1_048_577,
            "tree/cat/c.txt": b"Mine.",
            "tree/dog/e": b"",
        }
    )
    Path("inbox/tree/cat/d.txt").mkdir()
    read = Path.read_bytes

    def refusing(path: Path) -> bytes:
        if path.name == "c.txt":
            raise PermissionError(13, "Permission denied")
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", refusing)
    raw = {
        "kind": "folder",
        "content": "images",
        "package": None,
        "label": "folder",
        "folders": {"train": "inbox/tree"},
        "only": "*.png",
        "licence": "mine",
    }
    raw |= {"text": {"suffix": ".txt", "mark": ""}}
    rows = fetched(params.FolderSource.model_validate(raw, strict=False))
    assert rows[0]["text"] == b"A cat." and rows[0]["problem"] is None
    assert [(row["image"], row["problem"]) for row in rows[1:]] == [
        (None, "its text b.txt: 1,048,577 bytes, more than 1,048,576"),
        (None, "its text c.txt: cannot be read: Permission denied"),
        (None, "its text d.txt: a folder, not a file"),
    ]


@pytest.fixture
def bases() -> params.ImageTextBase:
    tiny.write_image_base(Path("inbox/image"), size=16)
    tiny.write_base(Path("inbox/text"))
    return pair("inbox/image", "inbox/text")


def pair(image: str, text: str) -> params.ImageTextBase:
    local = {"kind": "local", "licence": "mine"}
    raw = {"kind": "image_text", "image": local | {"folder": image}, "text": local | {"folder": text}}
    return params.ImageTextBase.model_validate(raw)


def test_two_base_models_have_a_folder_each(bases: params.ImageTextBase) -> None:
    base_model.fetch_base(bases, Path("data/base"))
    manifest = storage.read_json(Path("data/base/manifest.json"))
    assert {"image/config.json", "text/tokenizer.json", "text/model.safetensors"} <= set(manifest["files"])
    assert manifest["licence"] == "mine; mine"


@pytest.mark.usefixtures("bases")
def test_swapped_base_models_are_refused() -> None:
    with pytest.raises(SourceError, match="not an encoder of images"):
        base_model.fetch_base(pair("inbox/text", "inbox/image"), Path("data/base"))
    assert not Path("data/base").exists()


@pytest.mark.usefixtures("bases")
def test_a_warm_start_takes_both_encoders() -> None:
    """The names of the weights are those of the two base models again; the fusion's own norms stay out."""
    import torch

    from baton.contracts.input_spec import ImageTextInput
    from baton.models import model_folder

    base_model.fetch_base(pair("inbox/image", "inbox/text"), Path("data/base"))
    reads = ImageTextInput(tiny.image_input(16), tiny.TEXT_INPUT)
    head = params.LinearHead(kind="linear", pooling="mean", dropout=0.1)
    torch.manual_seed(1)
    model = model_folder.create(Path("data/base"), head, 3, tiny.training(), "matmul", reads).eval()
    info = model_folder.ModelInfo(tiny.task("a", "b", "c"), head, reads)
    model_folder.save(model, info, Path("data/base"), Path("inbox/warm"))
    local = params.LocalBase.model_validate({"kind": "local", "folder": "inbox/warm", "licence": "mine"})
    base_model.fetch_base(local, Path("data/warm"))
    assert not Path("data/warm/model.safetensors").exists() and not Path("data/warm/baton.json").exists()
    again = model_folder.create(Path("data/warm"), head, 3, tiny.training(), "matmul", reads).eval()
    theirs, ours = model.state_dict(), again.state_dict()
    encoders = [name for name in ours if name.startswith(("backbone.image.", "backbone.text."))]
    assert all(torch.equal(ours[name], theirs[name]) for name in encoders) and len(encoders) > 20
    assert load_file(Path("data/warm/image/model.safetensors")).keys() <= {
        name.removeprefix("backbone.image.backbone.") for name in theirs
    }
