"""Labelled text from each kind of source: the raw folder and its manifest."""

import hashlib
import io
import json
import pickle
import tarfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from baton import params, storage
from baton.errors import OutputError, SourceError
from baton.sources import fetching
from tests.archive_files import tar_gz
from tests.local_server import LocalServer, Page

CSV = b"text,label\nhello there,pos\ngo away,neg\n"
COMMIT = "0123456789abcdef0123456789abcdef01234567"


def local(**files: str) -> params.LocalSource:
    return params.LocalSource(kind="local", files=params.Files(**files), licence="CC0")


def check(folder: Path, contents: dict[str, bytes]) -> dict[str, Any]:
    """Check that the folder contains just these files and a correct manifest."""
    manifest: dict[str, Any] = json.loads((folder / "manifest.json").read_text())
    assert {path.name for path in folder.iterdir()} == set(contents) | {"manifest.json"}
    listed = {entry["path"]: (entry["sha256"], entry["bytes"]) for entry in manifest["files"].values()}
    assert listed == {
        name: (hashlib.sha256(content).hexdigest(), len(content)) for name, content in contents.items()
    }
    assert {name: (folder / name).read_bytes() for name in contents} == contents
    return manifest


def test_local_files_are_copied_with_their_own_suffixes(workplace: Path) -> None:
    Path("inbox").mkdir()
    Path("inbox/mine.csv").write_bytes(CSV)
    Path("inbox/held out.tsv").write_bytes(b"other")
    fetching.fetch_source(local(train="inbox/mine.csv", test="inbox/held out.tsv"), Path("data/raw"))
    manifest = check(Path("data/raw"), {"train.csv": CSV, "test.tsv": b"other"})
    assert manifest["licence"] == "CC0"
    assert manifest["source"]["kind"] == "local"
    assert manifest["files"]["test"]["origin"] == "inbox/held out.tsv"


def test_a_missing_local_file_is_named_with_what_is_there(workplace: Path) -> None:
    Path("inbox").mkdir()
    Path("inbox/mine.csv").write_bytes(CSV)
    with pytest.raises(
        SourceError,
        match=r"(?s)inbox/train.csv does not exist.*got: +inbox/ contains mine.csv"
        r".*expected:.*next:.*source.files.train",
    ):
        fetching.fetch_source(local(train="inbox/train.csv"), Path("data/raw"))
    assert list(Path("data").iterdir()) == []


def test_a_local_file_that_only_dvc_has_asks_for_a_pull(workplace: Path) -> None:
    Path("inbox").mkdir()
    Path("inbox/mine.csv.dvc").write_text("outs: []")
    with pytest.raises(SourceError, match="dvc pull"):
        fetching.fetch_source(local(train="inbox/mine.csv"), Path("data/raw"))


def wheel(digest: str, member: str = "toy/train.csv") -> params.WheelSource:
    files = params.Files(train=member)
    return params.WheelSource(
        kind="wheel", package="toy", version="1.0", sha256=digest, files=files, licence="CC0"
    )


def test_wheel_members_become_splits(build_wheel: Callable[..., str], workplace: Path) -> None:
    digest = build_wheel({"toy/train.csv": CSV, "toy/readme.csv": b"no"})
    fetching.fetch_source(wheel(digest), Path("data/raw"))
    manifest = check(Path("data/raw"), {"train.csv": CSV})
    assert manifest["files"]["train"]["origin"] == "toy 1.0: toy/train.csv"
    assert manifest["source"]["sha256"] == digest


def package(digest: str, archive: str | None, **files: Any) -> params.PackageSource:
    pinned = {"kind": "sdist", "package": "toy", "version": "1.0", "sha256": digest, "archive": archive}
    values = {"kind": "package", "package": pinned, "files": files, "licence": "CC0"}
    return params.PackageSource.model_validate(values, strict=False)


@pytest.fixture
def sdist(wheelhouse: Path) -> str:
    """The sha256 of a source distribution with files, and an archive of files."""
    inner = {"set/tweets.tsv": b"1\tgood\n", "set/news.tsv": b"2\tbad\n", "set/read.me": b"no"}
    members = {
        "toy-1.0/data/inner.tar.gz": tar_gz(inner),
        "toy-1.0/data/train.csv": CSV,
        "toy-1.0/setup.py": b"x",
    }
    (wheelhouse / "toy-1.0.tar.gz").write_bytes(tar_gz(members))
    return hashlib.sha256((wheelhouse / "toy-1.0.tar.gz").read_bytes()).hexdigest()


def test_one_member_of_a_package_is_a_file(sdist: str, workplace: Path) -> None:
    fetching.fetch_source(package(sdist, None, train="toy-1.0/data/train.csv"), Path("data/raw"))
    manifest = check(Path("data/raw"), {"train.csv": CSV})
    assert manifest["files"]["train"]["origin"] == "sdist toy 1.0: toy-1.0/data/train.csv"


def test_several_members_are_a_folder(sdist: str, workplace: Path) -> None:
    source = package(sdist, "toy-1.0/data/inner.tar.gz", train="set/*.tsv", test=["set/news.tsv"])
    fetching.fetch_source(source, Path("data/raw"))
    raw = Path("data/raw")
    assert sorted(path.name for path in raw.iterdir()) == ["manifest.json", "test.tsv", "train"]
    assert {path.name: path.read_bytes() for path in (raw / "train").iterdir()} == {
        "tweets.tsv": b"1\tgood\n",
        "news.tsv": b"2\tbad\n",
    }
    entry = storage.read_json(raw / "manifest.json")["files"]["train"]
    assert entry == {
        "path": "train",
        "origin": "sdist toy 1.0: toy-1.0/data/inner.tar.gz: set/*.tsv",
        "sha256": storage.sha256_tree(raw / "train"),
        "bytes": 13,
        "files": 2,
    }


@pytest.mark.parametrize(
    ("archive", "member", "message"),
    [
        ("toy-1.0/data/absent.zip", "set/a", "no member toy-1.0/data/absent.zip"),
        ("toy-1.0/data/train.csv", "set/a", "archive is damaged or truncated"),
        ("toy-1.0/data/inner.tar.gz", "set/absent.tsv", "no member set/absent.tsv"),
        (None, "toy-1.0/data/*.tsv", r"no member toy-1.0/data/\*.tsv"),
    ],
)
def test_a_wrong_member_of_a_package_is_named(
    sdist: str, workplace: Path, archive: str | None, member: str, message: str
) -> None:
    with pytest.raises(SourceError, match=rf"(?s){message}.*got:.*expected:.*next:"):
        fetching.fetch_source(package(sdist, archive, train=member), Path("data/raw"))
    assert list(Path("data").iterdir()) == []


def test_a_local_folder_is_copied_without_what_systems_leave(workplace: Path) -> None:
    for name in (
        "mails/spam/1.txt",
        "mails/ham/2.txt",
        "mails/.git/x",
        "mails/spam/Thumbs.db",
        "mails/a.dvc",
    ):
        Path("inbox", name).parent.mkdir(parents=True, exist_ok=True)
        Path("inbox", name).write_text(name)
    fetching.fetch_source(local(train="inbox/mails"), Path("data/raw"))
    files = sorted(path.relative_to("data/raw").as_posix() for path in Path("data/raw").rglob("*.*"))
    assert files == ["manifest.json", "train/ham/2.txt", "train/spam/1.txt"]


def entry_of(content: str) -> dict[str, Any]:
    entry: dict[str, Any] = storage.read_json(Path("data/raw/manifest.json"))["files"][content]
    return {key: entry[key] for key in ("path", "origin")}


@pytest.mark.parametrize(
    ("names", "files", "path"),
    [
        (("inbox/more.tsv",), ["unlabelled.tsv"], "unlabelled.tsv"),
        (("inbox/folder",), ["unlabelled/a.csv", "unlabelled/b/c.csv"], "unlabelled"),
        (
            ("inbox/more.tsv", "inbox/folder"),
            [
                "unlabelled/inbox/folder/a.csv",
                "unlabelled/inbox/folder/b/c.csv",
                "unlabelled/inbox/more.tsv",
            ],
            "unlabelled",
        ),
    ],
)
def test_local_rows_without_labels_are_copied_next_to_the_splits(
    workplace: Path, names: tuple[str, ...], files: list[str], path: str
) -> None:
    for name in ("train.csv", "more.tsv", "folder/a.csv", "folder/b/c.csv"):
        Path("inbox", name).parent.mkdir(parents=True, exist_ok=True)
        Path("inbox", name).write_text(name)
    source = local(train="inbox/train.csv").model_copy(update={"unlabelled": names})
    fetching.fetch_source(source, Path("data/raw"))
    raw = Path("data/raw")
    found = sorted(one.relative_to(raw).as_posix() for one in raw.rglob("*") if one.is_file())
    assert found == ["manifest.json", "train.csv", *files]
    assert entry_of("unlabelled") == {"path": path, "origin": ", ".join(names)}
    assert (raw / files[-1]).read_text() in names[0] + "folder/b/c.csv"
    manifest = storage.read_json(raw / "manifest.json")
    assert manifest["source"]["unlabelled"] == list(names)


def test_a_manifest_says_nothing_of_rows_without_labels_that_a_source_does_not_have(workplace: Path) -> None:
    """So that data/raw keeps its digest: earlier versions knew no such key."""
    Path("inbox").mkdir()
    Path("inbox/train.csv").write_bytes(CSV)
    fetching.fetch_source(local(train="inbox/train.csv"), Path("data/raw"))
    manifest = Path("data/raw/manifest.json").read_text()
    assert "unlabelled" not in manifest and "soft_labels" not in manifest


def test_missing_rows_without_labels_are_named(workplace: Path) -> None:
    Path("inbox").mkdir()
    Path("inbox/train.csv").write_bytes(CSV)
    source = local(train="inbox/train.csv").model_copy(update={"unlabelled": ("inbox/more.csv",)})
    with pytest.raises(SourceError, match=r"(?s)inbox/more.csv does not exist.*next:.*source.unlabelled in"):
        fetching.fetch_source(source, Path("data/raw"))
    assert list(Path("data").iterdir()) == []


def test_packages_may_have_rows_without_labels(
    sdist: str, build_wheel: Callable[..., str], workplace: Path
) -> None:
    source = package(sdist, "toy-1.0/data/inner.tar.gz", train="set/tweets.tsv")
    source = source.model_copy(update={"unlabelled": ("set/*.tsv",)})
    fetching.fetch_source(source, Path("data/raw"))
    origin = "sdist toy 1.0: toy-1.0/data/inner.tar.gz: set/*.tsv"
    assert entry_of("unlabelled") == {"path": "unlabelled", "origin": origin}
    assert Path("data/raw/unlabelled/news.tsv").read_bytes() == b"2\tbad\n"
    of_wheel = wheel(build_wheel({"toy/train.csv": CSV, "toy/a.csv": b"a", "toy/b.csv": b"b"}))
    for names, path in ((("toy/a.csv",), "unlabelled.csv"), (("toy/a.csv", "toy/b.csv"), "unlabelled")):
        fetching.fetch_source(of_wheel.model_copy(update={"unlabelled": names}), Path("data/raw"))
        assert entry_of("unlabelled") == {"path": path, "origin": f"toy 1.0: {', '.join(names)}"}
    assert Path("data/raw/unlabelled/toy/b.csv").read_bytes() == b"b"


def test_the_hub_may_have_rows_without_labels(
    workplace: Path, server: LocalServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    names = ("data/more-0.parquet", "data/more-1.parquet")
    for name, texts in zip((*names, SHARDS[0]), (["a"], ["b"], ["c"]), strict=True):
        server.hub_file("dataset", "owner/things", COMMIT, name, parquet({"text": texts}))
    source = params.HubSource(
        kind="hub",
        repository="owner/things",
        revision=COMMIT,
        files=params.HubFiles(train=SHARDS[:1]),
        unlabelled=names,
        licence="CC0",
    )
    fetching.fetch_source(source, Path("data/raw"))
    assert pq.read_table("data/raw/unlabelled.parquet")["text"].to_pylist() == ["a", "b"]


def test_soft_labels_are_copied_next_to_the_splits(
    sdist: str,
    build_wheel: Callable[..., str],
    workplace: Path,
    server: LocalServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fetched(source: Any, name: str) -> tuple[str, bytes]:
        fetching.fetch_source(source.model_copy(update={"soft_labels": name}), Path("data/raw"))
        entry = entry_of("soft_labels")
        raw = Path("data/raw")
        assert {path.name for path in raw.iterdir()} == {"manifest.json", "train.csv", entry["path"]}
        assert storage.read_json(raw / "manifest.json")["source"]["soft_labels"] == name
        return entry["origin"], (raw / entry["path"]).read_bytes()

    Path("inbox").mkdir()
    Path("inbox/train.csv").write_bytes(CSV)
    Path("inbox/soft.jsonl").write_bytes(b"{}")
    own = local(train="inbox/train.csv")
    assert fetched(own, "inbox/soft.jsonl") == ("inbox/soft.jsonl", b"{}")
    assert Path("data/raw/soft_labels.jsonl").is_file()
    of_wheel = wheel(build_wheel({"toy/train.csv": CSV, "toy/soft.csv": b"soft"}))
    assert fetched(of_wheel, "toy/soft.csv") == ("toy 1.0: toy/soft.csv", b"soft")
    assert fetched(of_wheel, "toy/train.csv")[1] == CSV, "a file may be both"
    of_package = package(sdist, None, train="toy-1.0/data/train.csv")
    assert fetched(of_package, "toy-1.0/data/train.csv") == ("sdist toy 1.0: toy-1.0/data/train.csv", CSV)
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    for name, content in (("train.csv", CSV), ("soft.csv", b"soft")):
        server.hub_file("dataset", "owner/things", COMMIT, name, content)
    of_hub = params.HubSource(
        kind="hub",
        repository="owner/things",
        revision=COMMIT,
        files=params.HubFiles(train=("train.csv",)),
        licence="CC0",
    )
    assert fetched(of_hub, "soft.csv") == (f"hub owner/things@{COMMIT}: soft.csv", b"soft")


def test_soft_labels_that_are_not_there_are_named(workplace: Path) -> None:
    Path("inbox").mkdir()
    Path("inbox/train.csv").write_bytes(CSV)
    source = local(train="inbox/train.csv").model_copy(update={"soft_labels": "inbox/soft.csv"})
    with pytest.raises(SourceError, match=r"(?s)inbox/soft.csv does not exist.*next:.*source.soft_labels in"):
        fetching.fetch_source(source, Path("data/raw"))
    assert list(Path("data").iterdir()) == []


def test_linked_folders_are_read_and_a_circle_is_named(workplace: Path) -> None:
    for path in (Path("inbox/elsewhere/1.txt"), Path("inbox/mails/ham/2.txt")):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    Path("inbox/mails/spam").symlink_to(Path("inbox/elsewhere").absolute())
    fetching.fetch_source(local(train="inbox/mails"), Path("data/raw"))
    assert sorted(path.name for path in Path("data/raw/train").rglob("*.txt")) == ["1.txt", "2.txt"]
    Path("inbox/elsewhere/again").symlink_to(Path("inbox/mails").absolute())
    with pytest.raises(
        SourceError, match=r"(?s)again leads to a folder that contains it.*next: +remove the link"
    ):
        fetching.fetch_source(local(train="inbox/mails"), Path("data/raw"))


def test_a_local_folder_without_files_is_named(workplace: Path) -> None:
    Path("inbox/mails/.git").mkdir(parents=True)
    with pytest.raises(SourceError, match=r"(?s)inbox/mails has no files.*next:"):
        fetching.fetch_source(local(train="inbox/mails"), Path("data/raw"))


def test_a_failure_leaves_the_old_folder_as_it_was(build_wheel: Callable[..., str], workplace: Path) -> None:
    digest = build_wheel({"toy/train.csv": CSV})
    fetching.fetch_source(wheel(digest), Path("data/raw"))
    with pytest.raises(SourceError, match=r"no member toy/absent\.csv"):
        fetching.fetch_source(wheel(digest, "toy/absent.csv"), Path("data/raw"))
    check(Path("data/raw"), {"train.csv": CSV})
    assert [path.name for path in Path("data").iterdir()] == ["raw"]


def test_hub_files_become_splits(
    workplace: Path, server: LocalServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    server.hub_file("dataset", "owner/things", COMMIT, "plain/train-00000.jsonl", CSV)
    server.hub_file("dataset", "owner/things", COMMIT, "plain/test-00000.jsonl", b"other")
    files = params.HubFiles(train=("plain/train-00000.jsonl",), test=("plain/test-00000.jsonl",))
    source = params.HubSource(
        kind="hub", repository="owner/things", revision=COMMIT, files=files, licence="CC0"
    )
    fetching.fetch_source(source, Path("data/raw"))
    manifest = check(Path("data/raw"), {"train.jsonl": CSV, "test.jsonl": b"other"})
    assert manifest["files"]["train"]["origin"] == f"hub owner/things@{COMMIT}: plain/train-00000.jsonl"


SHARDS = ("data/train-00000-of-00002.parquet", "data/train-00001-of-00002.parquet")


def fetch_shards(server: LocalServer, monkeypatch: pytest.MonkeyPatch, *contents: bytes) -> None:
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    for name, content in zip(SHARDS, contents, strict=True):
        server.hub_file("dataset", "owner/things", COMMIT, name, content)
    source = params.HubSource(
        kind="hub",
        repository="owner/things",
        revision=COMMIT,
        files=params.HubFiles(train=SHARDS),
        licence="CC0",
    )
    fetching.fetch_source(source, Path("data/raw"))


def parquet(columns: dict[str, list[Any]], group: int = 2) -> bytes:
    target = io.BytesIO()
    pq.write_table(pa.table(columns), target, row_group_size=group)
    return target.getvalue()


def damaged(content: bytes) -> bytes:
    """Break a page in the middle, which shows only when it is read."""
    return content[:40] + b"\xff" * 60 + content[100:]


def test_parquet_files_of_the_hub_become_one_table(
    workplace: Path, server: LocalServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = [{"bytes": bytes([number]), "path": f"{number}.png"} for number in range(8)]
    first, second = (
        {"image": images[part], "label": list(range(8))[part]} for part in (slice(5), slice(5, None))
    )
    fetch_shards(server, monkeypatch, parquet(first), parquet(second))
    assert pq.read_table("data/raw/train.parquet").to_pydict() == {"image": images, "label": list(range(8))}
    origin = storage.read_json(Path("data/raw/manifest.json"))["files"]["train"]["origin"]
    assert origin == f"hub owner/things@{COMMIT}: {', '.join(SHARDS)}"


@pytest.mark.parametrize(
    ("second", "message"),
    [
        (
            parquet({"text": ["b"], "label": [1]}),
            "00001-of-00002.parquet has different columns\n  got:      text string, label int64",
        ),
        (b"<html>", "00001-of-00002.parquet cannot be read"),
        (
            damaged(parquet({"image": [b"a" * 500] * 9, "label": [0] * 9})),
            "00001-of-00002.parquet cannot be read",
        ),
    ],
)
def test_parquet_files_that_are_no_one_table_are_refused(
    workplace: Path, server: LocalServer, monkeypatch: pytest.MonkeyPatch, second: bytes, message: str
) -> None:
    with pytest.raises(SourceError, match=message):
        fetch_shards(server, monkeypatch, parquet({"image": [b"a"], "label": [0]}), second)
    assert not Path("data/raw").exists()


def test_an_output_that_cannot_be_written_is_named(workplace: Path) -> None:
    Path("inbox").mkdir()
    Path("inbox/mine.csv").write_bytes(CSV)
    Path("data").write_text("a file where a folder should be")
    with pytest.raises(
        OutputError, match=r"(?s)data/raw cannot be written.*got:.*expected: +a writable folder.*next:"
    ):
        fetching.fetch_source(local(train="inbox/mine.csv"), Path("data/raw"))
    assert {path.name for path in workplace.iterdir()} == {"inbox", "data"}


# ---- scikit-learn's fetcher, with an archive in its layout from a local server -----------------------------

POST = (
    "From: someone\nSubject: rockets\n\nIn article <1> she writes:\n> quoted\nThe launch was fine.\n\n"
    "-- \nsomeone"
)


@pytest.fixture
def newsgroups(server: LocalServer, monkeypatch: pytest.MonkeyPatch) -> Page:
    """The page of the archive with the original layout, `20news-bydate-{train,test}/GROUP/NUMBER`."""
    from sklearn.datasets import _twenty_newsgroups
    from sklearn.datasets._base import RemoteFileMetadata

    body = io.BytesIO()
    with tarfile.open(fileobj=body, mode="w:gz") as archive:
        for split in ("train", "test"):
            for group in ("sci.space", "talk.politics.misc"):
                for number in range(3):
                    content = f"{POST} {split} {group} {number} caf\xe9".encode("latin-1")
                    info = tarfile.TarInfo(f"20news-bydate-{split}/{group}/{number}")
                    info.size = len(content)
                    archive.addfile(info, io.BytesIO(content))
    page = server.pages["/20news.tar.gz"] = Page(body.getvalue())
    metadata = RemoteFileMetadata(
        "20news-bydate.tar.gz", f"{server.url}/20news.tar.gz", hashlib.sha256(page.body).hexdigest()
    )
    # Only URL and digest change; all code that runs is scikit-learn's.
    monkeypatch.setattr(_twenty_newsgroups, "ARCHIVE", metadata)
    return page


def sklearn_source(*remove: Any) -> params.SklearnSource:
    return params.SklearnSource(kind="sklearn", name="20newsgroups", remove=remove, licence="unknown")


def read(split: str) -> list[dict[str, str]]:
    return [json.loads(line) for line in Path(f"data/raw/{split}.jsonl").read_bytes().split(b"\n")[:-1]]


def test_newsgroups_become_json_lines_and_are_fetched_once(
    workplace: Path, newsgroups: Page, server: LocalServer
) -> None:
    fetching.fetch_source(sklearn_source(), Path("data/raw"))
    for split in ("train", "test"):
        rows = read(split)
        assert sorted(row["label"] for row in rows) == ["sci.space"] * 3 + ["talk.politics.misc"] * 3
        assert {row["text"] for row in rows} == {
            f"{POST} {split} {row['label']} {n} caf\xe9" for row in rows for n in range(3)
        }
    first = Path("data/raw/train.jsonl").read_bytes()
    server.close()
    fetching.fetch_source(sklearn_source(), Path("data/raw"))
    assert Path("data/raw/train.jsonl").read_bytes() == first


def test_what_remove_names_is_removed(workplace: Path, newsgroups: Page) -> None:
    fetching.fetch_source(sklearn_source("headers", "footers", "quotes"), Path("data/raw"))
    assert {row["text"].strip() for row in read("train")} == {"The launch was fine."}


def test_a_broken_newsgroups_archive_is_tried_again(
    workplace: Path, newsgroups: Page, capsys: pytest.CaptureFixture[str]
) -> None:
    newsgroups.breaks = 2  # the first attempt, and scikit-learn's own second one
    fetching.fetch_source(sklearn_source(), Path("data/raw"))
    assert len(read("train")) == 6
    assert "attempt 1 of 2 failed" in capsys.readouterr().out


def test_a_pickle_in_a_shared_cache_is_never_opened(
    workplace: Path, newsgroups: Page, cache: Path, tmp_path: Path
) -> None:
    """Somebody who can write the cache puts a pickle in the place of what scikit-learn keeps."""
    fetching.fetch_source(sklearn_source(), Path("data/raw"))
    first = Path("data/raw/train.jsonl").read_bytes()
    evil = zlib.compress(pickle.dumps(Evil()))
    digest = hashlib.sha256(evil).hexdigest()
    (cache / digest).write_bytes(evil)
    (cache / "index").mkdir(exist_ok=True)
    for index in {*tmp_path.rglob("index/*"), cache / "index/sklearn 20newsgroups.json"}:
        index.write_text(json.dumps({"key": "sklearn 20newsgroups", "sha256": digest, "bytes": len(evil)}))
    fetching.fetch_source(sklearn_source(), Path("data/raw"))
    assert Path("data/raw/train.jsonl").read_bytes() == first
    assert not Path("unpickled").exists()


def test_changed_newsgroups_bytes_are_refused(workplace: Path, newsgroups: Page) -> None:
    newsgroups.body = newsgroups.body[:-1] + b"x"
    with pytest.raises(SourceError, match=r"(?s)sklearn 20newsgroups.*2 attempts.*got: .*checksum.*next:"):
        fetching.fetch_source(sklearn_source(), Path("data/raw"))
    assert list(Path("data").iterdir()) == []


class Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("unpickled"),)


def test_a_pickle_that_was_put_in_the_cache_is_never_opened(
    workplace: Path, newsgroups: Page, cache: Path
) -> None:

    fetching.fetch_source(sklearn_source(), Path("data/raw"))
    evil = zlib.compress(pickle.dumps(Evil()))
    pickle.loads(pickle.dumps(Evil()))
    assert Path("unpickled").exists(), "the bait works"
    Path("unpickled").unlink()
    for path in cache.iterdir():
        if path.is_file():
            path.write_bytes(evil)
    fetching.fetch_source(sklearn_source(), Path("data/raw"))
    assert not Path("unpickled").exists()
    assert len(read("train")) == 6


def test_corrections_are_copied_beside_the_source(workplace: Path) -> None:
    Path("inbox").mkdir()
    Path("inbox/mine.csv").write_bytes(CSV)
    Path("inbox/fixed.csv").write_bytes(b"id,label\n")
    fetching.fetch_source(local(train="inbox/mine.csv"), Path("data/raw"), "inbox/fixed.csv")
    manifest = check(Path("data/raw"), {"train.csv": CSV, "corrections.csv": b"id,label\n"})
    assert manifest["files"]["corrections"]["origin"] == "inbox/fixed.csv"
    with pytest.raises(SourceError, match=r"(?s)inbox/none.csv does not exist.*corrections in params"):
        fetching.fetch_source(local(train="inbox/mine.csv"), Path("data/raw"), "inbox/none.csv")
