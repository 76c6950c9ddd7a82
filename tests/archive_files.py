"""Small archives for tests, in the formats of registries."""

import gzip
import io
import tarfile
from collections.abc import Mapping


def tar(members: Mapping[str, bytes], links: tuple[str, ...] = ()) -> bytes:
    """A tar; the content of a link is where it points to."""
    body = io.BytesIO()
    with tarfile.open(fileobj=body, mode="w") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            if name.removeprefix("./") in links:
                info.type, info.linkname = tarfile.SYMTYPE, content.decode()
                archive.addfile(info)
            else:
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
    return body.getvalue()


def tar_gz(members: Mapping[str, bytes]) -> bytes:
    """A tar.gz, the format of source distributions and of npm's packages."""
    return gzip.compress(tar(members), mtime=0)


def ar(members: Mapping[str, bytes]) -> bytes:
    """An ar archive, the format of Debian packages."""
    body = b"!<arch>\n"
    for name, content in members.items():
        body += f"{name:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(content):<10}`\n".encode()
        body += content + b"\n" * (len(content) % 2)
    return body


def deb(members: Mapping[str, bytes], control: bytes) -> bytes:
    """A Debian package."""
    return ar(
        {
            "debian-binary": b"2.0\n",
            "control.tar.gz": tar_gz({"./control": control}),
            "data.tar.gz": tar_gz({f"./{name}": content for name, content in members.items()}),
        }
    )
