"""What the DVC remote has of the objects that DVC could not fetch: missing is only what it says it lacks.

A remote may answer, list an object, and fail to deliver it, as with one disk of an object store broken.
"""

from collections.abc import Iterable, Sequence
from typing import Any

SHOWN = 3


def lacking(repo: Any, wanted: Iterable[Any]) -> list[Any]:
    """Return those of these hashes (`HashInfo`) whose objects are not in the cache here."""
    caches = repo.cache.local, repo.cache.legacy
    return [one for one in wanted if not any(cache.exists(one.value) for cache in caches)]


def trouble(repo: Any, wanted: Iterable[Any]) -> str | None:
    """Return which objects the remote has although they could not be fetched; None if it has none of them."""
    from dvc.cachemgr import LEGACY_HASH_NAMES

    held: list[str] = []
    missing = lacking(repo, wanted)
    for names, hash_name in ((LEGACY_HASH_NAMES, "md5-dos2unix"), ({"md5"}, "md5")):
        if values := [one.value for one in missing if one.name in names]:
            held += repo.cloud.get_remote_odb(hash_name=hash_name).oids_exist(values)
    return told(held)


def told(held: Sequence[str]) -> str | None:
    """Return the trouble with what the remote has, by name; None if that is nothing."""
    if not held:
        return None
    more = f" and {len(held) - SHOWN} more" if len(held) > SHOWN else ""
    return f"the DVC remote has {', '.join(sorted(held)[:SHOWN])}{more}, but does not deliver it"


def of_outputs(repo: Any, targets: str | Sequence[str] | None) -> set[Any]:
    """Return the hashes of the targets' outputs, and of the files in their folders that the cache knows."""
    wanted = [targets] if isinstance(targets, str) else targets
    found = set()
    for out in repo.index.targets_view(wanted).outs:
        if out.use_cache and out.hash_info:
            found.add(out.hash_info)
            folder = out.get_obj() if out.hash_info.isdir else None
            found |= {entry for _, _, entry in folder} if folder else set()
    return found
