"""Fetch single files from the Hugging Face Hub at one commit, verified by the digest that the Hub reports.

A shared cache of fetched files is not asked which file belongs to a commit: the first time, the Hub is.
"""

import hashlib
import os
import re
import shutil
from pathlib import Path
from typing import Literal

from baton import storage
from baton.errors import SourceError, first_line
from baton.sources import fetch_cache, transfer_progress


def fetch_file(kind: Literal["model", "dataset"], repository: str, revision: str, name: str) -> Path:
    """Return one verified file, from the cache or from the Hub (`$HF_ENDPOINT` and `$HF_TOKEN` as usual).

    Raises:
        SourceError: no revision is given; the repository, revision or file does not exist or needs a login;
            every attempt failed.
    """
    if not revision:
        address = (
            f"https://huggingface.co/{'datasets/' if kind == 'dataset' else ''}{repository}/commits/main"
        )
        hint = (
            f"open {address}, choose a commit and copy its 40 hexadecimal digits to `revision` in params.yaml"
        )
        raise SourceError(
            f"hub {kind} {repository} has no revision",
            got="an empty revision",
            expected="a commit",
            hint=hint,
        )
    advice = "check the connection (set HF_ENDPOINT to use a mirror), then run again; fetched files are kept"
    key = f"hub {kind} {repository}@{revision} {name}"
    return fetch_cache.obtain(
        key, lambda scratch: _download(kind, repository, revision, name, scratch), advice=advice
    )


def _download(kind: str, repository: str, revision: str, name: str, scratch: Path) -> Path:
    import httpx2
    from huggingface_hub import errors, get_hf_file_metadata, hf_hub_download, hf_hub_url
    from huggingface_hub.utils.tqdm import disable_progress_bars

    disable_progress_bars()  # Baton shows its own
    endpoint = os.environ.get("HF_ENDPOINT")
    what = f"{kind} {repository} at {revision}"
    try:
        address = hf_hub_url(repository, name, repo_type=kind, revision=revision, endpoint=endpoint)
        metadata = get_hf_file_metadata(address, endpoint=endpoint)
        if (kept := _kept(metadata.etag, scratch)) is not None:
            return kept
        with transfer_progress.watched(scratch, f"download {name}", metadata.size):
            path = Path(
                hf_hub_download(
                    repository,
                    name,
                    repo_type=kind,
                    revision=revision,
                    local_dir=scratch,
                    endpoint=endpoint,
                    etag_timeout=30,
                )
            )
    except errors.GatedRepoError as error:
        hint = "accept its terms on its page and set HF_TOKEN to a token"
        raise SourceError(
            f"hub {what} is gated", got=first_line(error), expected="access", hint=hint
        ) from None
    except errors.RepositoryNotFoundError as error:
        hint = "check `repository` in params.yaml; a private one needs HF_TOKEN"
        raise SourceError(
            f"hub {what} does not exist", got=first_line(error), expected="a public repository", hint=hint
        ) from None
    except errors.RevisionNotFoundError as error:
        hint = "copy a commit of 40 digits from the repository's history page"
        raise SourceError(
            f"hub {what}: no such revision", got=first_line(error), expected=revision, hint=hint
        ) from None
    except errors.EntryNotFoundError as error:
        hint = "check `files` in params.yaml against the repository's file list at that revision"
        # The library's name for: no connection, and nothing in its own cache.
        if isinstance(error, errors.LocalEntryNotFoundError):
            raise fetch_cache.BrokenTransferError(first_line(error)) from error
        raise SourceError(
            f"hub {what} has no file {name}", got=first_line(error), expected=name, hint=hint
        ) from None
    except (
        httpx2.HTTPError,
        errors.HfHubHTTPError,
        errors.FileMetadataError,
        errors.OfflineModeIsEnabled,
        ConnectionError,
    ) as error:
        raise fetch_cache.BrokenTransferError(first_line(error)) from error
    except OSError as error:
        if error.errno is not None:
            raise
        # The size differs from the announced one.
        raise fetch_cache.BrokenTransferError(first_line(error)) from error
    _verify(path, metadata.etag)
    return path


def _kept(etag: str | None, scratch: Path) -> Path | None:
    """Return a link to a large file that a shared cache already has, by the sha256 that is its ETag."""
    if etag is None or not re.fullmatch(r"[0-9a-f]{64}", etag):
        return None
    if (kept := fetch_cache.known(etag)) is None:
        return None
    try:
        os.link(kept, scratch / "kept")
    except OSError:  # a file system without links, or another user's file
        shutil.copyfile(kept, scratch / "kept")
    return scratch / "kept"


def _verify(path: Path, etag: str | None) -> None:
    """Compare a file with the Hub's ETag: the sha256 of a large file, the Git blob id of a small one.

    Any other ETag, such as a mirror's, proves nothing and is ignored.
    """
    match len(etag or ""):
        case 64:
            got = storage.sha256(path)
        case 40:
            content = path.read_bytes()
            got = hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
        case _:
            return
    if got != etag:
        raise fetch_cache.BrokenTransferError(f"{path.name} has digest {got}, but the Hub reports {etag}")
