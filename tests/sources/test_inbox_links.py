"""Links in inbox/ may lead within it or to DVC's cache; no other file of this machine gets into the data."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from baton import params
from baton.errors import SourceError
from baton.lifecycle import test_table as frozen_table
from baton.sources import base_model, fetching, image_folders, image_sources, inbox, inbox_links
from tests import tiny
from tests.image_files import noise, put, saved

SECRET = b"text,label\nAWS_SECRET_ACCESS_KEY=planted,pos\n"
RAW = Path("data/raw")
ROOT = Path(__file__).parents[2]


@pytest.fixture
def secret(workplace: Path, tmp_path: Path) -> Path:
    """A file that only this user may read, outside the project."""
    path = tmp_path / "home/secret.csv"
    path.parent.mkdir()
    path.write_bytes(SECRET)
    Path("inbox").mkdir()
    put("inbox/train.csv", b"text,label\nhello,pos\n")
    return path


def refused(call: Callable[[], object]) -> None:
    with pytest.raises(SourceError, match=r"(?s)inbox.*leads out of inbox/.*got:.*expected:.*next:"):
        call()
    taken = [path for path in Path("data").rglob("*") if path.is_file()] if Path("data").is_dir() else []
    assert not [path for path in taken if b"planted" in path.read_bytes()]


def local(**values: Any) -> params.LocalSource:
    files = params.Files(train=values.pop("train", "inbox/train.csv"))
    return params.LocalSource(kind="local", files=files, licence="mine", **values)


def text(source: params.Source, corrected: str | None = None) -> Callable[[], object]:
    return lambda: fetching.fetch_source(source, RAW, corrected)


def test_a_file_of_a_text_source_is_no_link_to_the_outside(secret: Path) -> None:
    Path("inbox/stolen.csv").symlink_to(secret)
    Path("inbox/folder").symlink_to(secret.parent)
    put("inbox/several/1.csv", b"x")
    Path("inbox/several/2.csv").symlink_to(secret)
    Path("inbox/relative.csv").symlink_to(os.path.relpath(secret, "inbox"))
    Path("inbox/chain.csv").symlink_to("stolen.csv")
    names = ("stolen.csv", "folder", "folder/secret.csv", "several", "relative.csv", "chain.csv")
    for name in names:
        refused(text(local(train=f"inbox/{name}")))
    refused(text(local(unlabelled=("inbox/stolen.csv",))))
    refused(text(local(unlabelled=("inbox/several",))))
    refused(text(local(soft_labels="inbox/stolen.csv")))
    refused(text(local(), "inbox/stolen.csv"))
    fetching.fetch_source(local(), RAW)  # what nobody reads does no harm


@pytest.mark.skipif(not Path("/proc/self/environ").is_file(), reason="no /proc")
def test_the_environment_of_the_process_is_not_data(secret: Path) -> None:
    Path("inbox/mine.csv").symlink_to("/proc/self/environ")
    refused(text(local(train="inbox/mine.csv")))
    Path("inbox/self").symlink_to("/proc/self")
    refused(text(local(train="inbox/self/environ")))


def test_images_and_tables_of_paths_are_no_links_to_the_outside(secret: Path) -> None:
    put("inbox/pets/cat/a.png", saved(noise(1)))
    put("inbox/pets/dog/a.png", saved(noise(1)))
    put("inbox/table.csv", b"path,label\npets/cat/b.png,cat\n")
    put("inbox/deep.csv", b"path,label\nlink/secret.csv,cat\n")
    Path("inbox/link").symlink_to(secret.parent)
    Path("inbox/foreign.csv").symlink_to(secret)

    def folders(name: str, **values: Any) -> params.FolderSource:
        common = {"kind": "folder", "content": "images", "package": None, "only": ("*",), "label": "folder"}
        return params.FolderSource(**common | {"folders": params.Files(train=name), "licence": ""} | values)

    def table(name: str) -> params.TableSource:
        delimited = params.read_raw(ROOT / "recipes/image-text-csv.yaml")["source"]["format"]
        values = {"kind": "table", "content": "images", "files": {"train": f"inbox/{name}"}, "licence": ""}
        places = {"folder": "inbox", "path_column": "path", "label_column": "label"}
        return params.TableSource.model_validate_json(json.dumps(values | places | {"format": delimited}))

    Path("inbox/pets/cat/b.png").symlink_to(secret)
    refused(text(folders("inbox/pets")))
    refused(text(table("table.csv")))
    refused(text(table("deep.csv")))
    refused(text(table("foreign.csv")))
    Path("inbox/pets/cat/b.png").unlink()
    Path("inbox/pets/fish").symlink_to(secret.parent)
    refused(text(folders("inbox/pets")))
    Path("inbox/pets/fish").unlink()
    Path("inbox/pets/cat/a.txt").symlink_to(secret)
    beside = params.TextBeside(suffix=".txt", mark="")
    refused(text(folders("inbox/pets", only=("*.png",), text=beside)))
    refused(lambda: image_folders.unlabelled(Path("inbox/link"), folders("inbox/pets")))


def test_idx_files_in_the_inbox_are_no_links_to_the_outside(secret: Path) -> None:
    put("inbox/idx/labels", b"x")
    Path("inbox/idx/images").symlink_to(secret)
    source = params.IdxSource(
        kind="idx",
        folders=("inbox/idx",),
        images=params.Files(train="images"),
        labels=params.Files(train="labels"),
        sha256={},
        licence="",
    )
    refused(lambda: image_sources.fetch(source, RAW))


def test_base_models_and_the_frozen_table_are_no_links_to_the_outside(secret: Path) -> None:
    tiny.write_base(Path("inbox/model"))
    Path("inbox/model/vocab.json").symlink_to(secret)
    model = params.LocalBase(kind="local", folder="inbox/model", licence="")
    refused(lambda: base_model.fetch_base(model, Path("data/base")))
    Path("inbox/other").symlink_to(secret.parent)
    other = params.LocalBase(kind="local", folder="inbox/other", licence="")
    put(str(secret.parent / "config.json"), b'{"planted": 1}')
    refused(lambda: base_model.fetch_base(other, Path("data/base")))
    Path("inbox/test.parquet").symlink_to(secret)
    refused(lambda: frozen_table.read(Path("inbox/test.parquet")))


def test_the_inbox_itself_is_no_link(secret: Path) -> None:
    shutil.rmtree("inbox")
    Path("inbox").symlink_to(secret.parent)
    refused(text(local(train="inbox/secret.csv")))
    refused(inbox.check)


def test_all_links_that_lead_out_are_named_before_dvc_runs(secret: Path) -> None:
    Path("inbox/folder").symlink_to(secret.parent)
    Path("inbox/stolen.csv").symlink_to(secret)
    with pytest.raises(SourceError) as caught:
        inbox.check()
    for name in ("folder", "stolen.csv"):
        assert f"inbox/{name}: leads out of the inbox: a link to {secret.parent}" in str(caught.value)


def test_links_within_the_inbox_are_read(secret: Path) -> None:
    put("inbox/deep/more.csv", b"text,label\n")
    Path("inbox/link.csv").symlink_to("deep/more.csv")
    Path("inbox/linked").symlink_to("deep")
    for name in ("link.csv", "linked", "linked/more.csv"):
        fetching.fetch_source(local(train=f"inbox/{name}"), RAW)


def test_an_estimate_reads_the_inbox_of_its_project(secret: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project, scratch = Path.cwd(), Path(".baton/estimate/rehearsal-1")
    scratch.mkdir(parents=True)
    (scratch / "inbox").symlink_to(Path("inbox").resolve())
    Path("inbox/stolen.csv").symlink_to(secret)
    monkeypatch.chdir(scratch)
    assert inbox_links.checked(Path("inbox/train.csv")) == Path("inbox/train.csv")
    with pytest.raises(SourceError, match="leads out"):
        inbox_links.checked(Path("inbox/stolen.csv"))
    monkeypatch.chdir(project)


# ---- DVC's cache -----------------------------------------------------------------------------------------


def dvc(*words: str) -> None:
    subprocess.run([sys.executable, "-m", "dvc", *words], check=True, capture_output=True)


def test_files_that_dvc_replaced_by_links_to_its_cache_are_read(secret: Path, tmp_path: Path) -> None:
    dvc("init", "--no-scm", "--quiet")
    dvc("cache", "dir", str(tmp_path / "shared cache"))
    dvc("config", "cache.type", "symlink")
    put("inbox/mails/1.txt", b"one")
    dvc("add", "--quiet", "inbox/train.csv", "inbox/mails")
    assert Path("inbox/train.csv").is_symlink() and Path("inbox/mails/1.txt").is_symlink()
    for name in ("train.csv", "mails"):
        fetching.fetch_source(local(train=f"inbox/{name}"), RAW)
    assert inbox.check() >= 2
    # Neither the cache of another project nor other files in the cache's folder.
    content = Path("inbox/train.csv").resolve()
    other = tmp_path / "other" / content.relative_to(tmp_path / "shared cache")
    for place in (other, tmp_path / "shared cache/secret.csv"):
        put(str(place), SECRET)
        Path("inbox/stolen.csv").unlink(missing_ok=True)
        Path("inbox/stolen.csv").symlink_to(place)
        refused(text(local(train="inbox/stolen.csv")))
