"""Members of zip, tar and Debian archives: the named ones, bounded, and never outside of the target."""

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from baton.errors import SourceError
from baton.sources import archive_members, archives
from tests.archive_files import ar, tar

CONTENT = {
    "toy/data/train.csv": b"text,label\n",
    "toy/other.csv": b"never read",
    "toy/data/b.txt": b"b" * 3000,
}
LINK = "toy/link"
Make = Callable[[dict[str, bytes]], bytes]


def zipped(members: dict[str, bytes], links: tuple[str, ...] = (LINK,)) -> bytes:
    body = io.BytesIO()
    with zipfile.ZipFile(body, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            info = zipfile.ZipInfo(name)
            info.external_attr = (0o120777 if name in links else 0o100644) << 16
            archive.writestr(info, content)
    return body.getvalue()


def zstandard(members: dict[str, bytes]) -> bytes:
    body = pa.BufferOutputStream()
    with pa.CompressedOutputStream(body, "zstd") as stream:
        stream.write(tar(members, links=(LINK,)))
    return bytes(body.getvalue())


def linked_tar(members: dict[str, bytes]) -> bytes:
    return tar(members, links=(LINK,))


KINDS: dict[str, Make] = {
    "zip": zipped,
    "tar": linked_tar,
    "tar.gz": lambda members: gzip.compress(linked_tar(members)),
    "tar.bz2": lambda members: bz2.compress(linked_tar(members)),
    "tar.xz": lambda members: lzma.compress(linked_tar(members)),
    "tar.zst": zstandard,
    "deb": lambda members: ar(
        {
            "debian-binary": b"2.0\n",
            "control.tar.xz": lzma.compress(tar({"./control": b"odd"})),
            "data.tar.xz": lzma.compress(
                linked_tar(
                    {name if name[0] in "/\\" else f"./{name}": body for name, body in members.items()}
                )
            ),
        }
    ),
}


@pytest.fixture(params=KINDS)
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[dict[str, bytes]], Path]:
    """`make({member: bytes})` writes an archive of each kind; `toy/link` is a link."""

    def write(members: dict[str, bytes]) -> Path:
        path = tmp_path / "archive"
        path.write_bytes(KINDS[request.param](members))
        return path

    return write


@pytest.fixture
def target(tmp_path: Path) -> Path:
    folder = tmp_path / "target"
    folder.mkdir()
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def message(call: Callable[[], object]) -> str:
    with pytest.raises(SourceError) as caught:
        call()
    text = str(caught.value)
    assert all(part in text for part in ("got:", "expected:", "next:"))
    return text


def test_only_the_named_members_are_written(make: Callable[..., Path], target: Path) -> None:
    archives.extract(
        make(CONTENT), {"toy/data/b.txt": "deep/b.txt", "toy/data/train.csv": "train.csv"}, target
    )
    assert contents(target) == {
        "deep/b.txt": CONTENT["toy/data/b.txt"],
        "train.csv": CONTENT["toy/data/train.csv"],
    }


@pytest.mark.parametrize(
    ("patterns", "names"),
    [
        (["toy/data"], ["toy/data/b.txt", "toy/data/train.csv"]),
        (["toy/*.csv"], ["toy/other.csv"]),
        (["toy/*/*.csv", "toy/data/b.txt"], ["toy/data/b.txt", "toy/data/train.csv"]),
        (["."], sorted(CONTENT)),
    ],
)
def test_patterns_and_folders(
    make: Callable[..., Path],
    target: Path,
    patterns: list[str],
    names: list[str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    archive = make({**CONTENT, LINK: b"/etc/passwd"})
    assert archives.extract_matching(archive, patterns, target) == names
    said = capsys.readouterr().out
    assert ("toy/link (a symbolic link)" in said) == (patterns == ["."]), (
        "what matches is not lost in silence"
    )
    assert contents(target) == {name: CONTENT[name] for name in names}


def test_a_name_with_brackets_is_itself(make: Callable[..., Path], target: Path) -> None:
    archive = make({"toy/a[1].pth": b"weights", "toy/a1.pth": b"others"})
    assert archives.extract_matching(archive, ["toy/a[1].pth"], target) == ["toy/a1.pth", "toy/a[1].pth"]


def test_a_missing_member_is_named_with_those_alike(make: Callable[..., Path], target: Path) -> None:
    archive = make(CONTENT)
    for call in (
        lambda: archives.extract(archive, {"toy/train.csv": "out"}, target),
        lambda: archives.extract_matching(archive, ["toy/data", "toy/train.csv"], target),
    ):
        text = message(call)
        assert "no member toy/train.csv" in text
        assert "toy/data/train.csv" in text


@pytest.mark.parametrize("name", ["../evil", "/etc/evil", "toy/../../evil", "..\\evil"])
def test_an_archive_with_a_member_outside_is_refused(
    make: Callable[..., Path], target: Path, tmp_path: Path, name: str
) -> None:
    archive = make({name: b"evil", **CONTENT})
    assert "outside its root" in message(
        lambda: archives.extract(archive, {"toy/data/train.csv": "train.csv"}, target)
    )
    assert "outside its root" in message(lambda: archives.extract_matching(archive, ["."], target))
    assert not contents(target)
    assert not list(tmp_path.rglob("evil"))


def test_a_path_outside_the_target_is_refused(make: Callable[..., Path], target: Path) -> None:
    archive = make(CONTENT)
    assert "outside its folder" in message(
        lambda: archives.extract(archive, {"toy/data/train.csv": "../evil"}, target)
    )
    assert not (target.parent / "evil").exists()


def test_a_link_is_refused(make: Callable[..., Path], target: Path) -> None:
    archive = make({LINK: b"/etc/passwd", **CONTENT})
    assert "a symbolic link" in message(lambda: archives.extract(archive, {LINK: "out"}, target))
    assert not contents(target)


def test_a_name_that_is_there_twice_is_refused(make: Callable[..., Path], target: Path) -> None:
    archive = make({"a.txt": b"first", "./a.txt": b"second"})
    assert "a.txt, twice" in message(lambda: archives.extract(archive, {"a.txt": "a.txt"}, target))


@pytest.mark.parametrize("name", ["line\nbreak", "right\u202eleft", "x" * 300])
def test_a_name_that_is_no_plain_name_is_refused(make: Callable[..., Path], target: Path, name: str) -> None:
    archive = make({name: b"x"})
    assert "cannot be a file's name" in message(lambda: archives.extract_matching(archive, ["."], target))


def test_an_archive_that_holds_too_much_is_refused(
    make: Callable[..., Path], target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = make({"bomb": b"\0" * 5_000_000, "toy": b"x"})
    monkeypatch.setattr(archive_members, "MOST_BYTES", 1_000_000)
    assert "holds too much" in message(lambda: archives.extract(archive, {"toy": "toy"}, target))
    monkeypatch.setattr(archive_members, "MOST_BYTES", 2**30)
    monkeypatch.setattr(archives, "MOST_MEMBERS", 1)
    assert "holds too much" in message(lambda: archives.extract(archive, {"toy": "toy"}, target))


def test_a_header_that_would_fill_the_memory_is_refused(tmp_path: Path, target: Path) -> None:
    info = tarfile.TarInfo("x")
    info.type, info.size = tarfile.XHDTYPE, 2**40
    (tmp_path / "archive").write_bytes(info.tobuf(tarfile.GNU_FORMAT) + b"\0" * 4096)
    assert "an enormous header" in message(
        lambda: archives.extract_matching(tmp_path / "archive", ["."], target)
    )


@pytest.mark.parametrize("kept", [0, 0.3, 0.6, 0.75])
def test_a_truncated_archive_is_named(make: Callable[..., Path], target: Path, kept: float) -> None:
    noise = bytes(hash((n, "x")) % 256 for n in range(20_000))
    archive = make({"a.bin": noise, "b.bin": noise[::-1]})
    whole = archive.read_bytes()
    archive.write_bytes(whole[: int(kept * len(whole))])
    assert "damaged or truncated" in message(lambda: archives.extract_matching(archive, ["."], target))
    assert not archives.complete(archive)


def test_a_complete_archive_is_recognized(make: Callable[..., Path]) -> None:
    assert archives.complete(make(CONTENT))


@pytest.mark.parametrize("kind", ["zip", "tar.gz", "tar.xz", "tar.bz2"])
def test_a_changed_archive_whose_digest_was_pinned_is_named(tmp_path: Path, target: Path, kind: str) -> None:
    body = bytearray(KINDS[kind]({"member": bytes(range(256)) * 100}))
    body[60] ^= 255
    (tmp_path / "archive").write_bytes(body)
    assert "damaged or truncated" in message(
        lambda: archives.extract_matching(tmp_path / "archive", ["."], target)
    )


def test_a_zip_whose_directory_points_before_it_is_named(tmp_path: Path, target: Path) -> None:
    body = bytearray(zipped(CONTENT))
    end = body.rindex(b"PK\x05\x06")
    body[end + 12 : end + 16] = (len(body) - 1).to_bytes(4, "little")  # the directory's size
    (tmp_path / "archive").write_bytes(body)
    assert "damaged or truncated" in message(
        lambda: archives.extract_matching(tmp_path / "archive", ["."], target)
    )
    assert not archives.complete(tmp_path / "archive")


def test_a_package_without_data_is_named(tmp_path: Path, target: Path) -> None:
    (tmp_path / "archive").write_bytes(ar({"debian-binary": b"2.0\n"}))
    assert "no data.tar" in message(lambda: archives.extract_matching(tmp_path / "archive", ["."], target))
