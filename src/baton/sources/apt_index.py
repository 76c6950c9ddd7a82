"""Fetch the index files of a Debian release by apt: `Packages` and `Translation-LANGUAGE`, uncompressed.

apt updates lists of its own in a scratch folder, from the archive that the user's apt is configured for, so
that no rights are needed and the system's lists stay as they are. What is pinned is the sha256 that the
release file lists for the uncompressed index; a point release replaces the index and with it the digest.
"""

from pathlib import Path

from baton import params, storage
from baton.errors import SourceError
from baton.sources import clients, fetch_cache

TARGETS = "$(CREATED_BY) $(CODENAME) $(RELEASE) $(COMPONENT) $(ARCHITECTURE) $(REPO_URI)"
CONFIG = """#clear Acquire::Languages;
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
Acquire::Languages {{ "{language}"; }};
Acquire::GzipIndexes "false";
Acquire::IndexTargets::deb::Packages::DefaultEnabled "{packages}";
Acquire::IndexTargets::deb::Translations::DefaultEnabled "{translations}";
Dir::State "{scratch}";
Dir::State::lists "{scratch}/lists";
Dir::State::status "{scratch}/status";
Dir::Cache "{scratch}/cache";
Dir::Etc::sourcelist "{scratch}/sources.list";
Dir::Etc::sourceparts "-";
APT::Sandbox::User "";
"""


def fetch(source: params.AptSource) -> dict[str, Path]:
    """Return the verified index files by name, from the cache or by apt.

    Raises:
        SourceError: apt is not installed or not configured for the release, it cannot fetch a file, or the
            files are no longer the pinned ones.
    """
    return {
        name: fetch_cache.obtain(
            f"apt {_title(source)} {name} {digest or 'unknown'}",
            lambda scratch, name=name: _download(source, name, scratch),  # type: ignore[misc]
            advice="check the connection and apt's sources, then run again; fetched files are kept",
            sha256=digest or None,
        )
        for name, digest in source.sha256.items()
    }


def _title(source: params.AptSource) -> str:
    return f"{source.release} {source.component} {source.architecture}"


def _download(source: params.AptSource, name: str, scratch: Path) -> Path:
    title = f"the package index of {_title(source)}"
    clients.require("apt-get", title, clients.NO_APT)
    _configure(source, name, scratch)
    code, output = clients.run(
        ("apt-get", "-c", "apt.conf", "update"), f"{name} of {source.release}", scratch
    )
    releases = {path: _listed(path, source) for path in sorted((scratch / "lists").glob("*Release"))}
    lists = {path: listed for path, listed in releases.items() if listed}
    if lists and all(source.sha256[name] != listed.get(name) for listed in lists.values()):
        release, listed = next(iter(lists.items()))
        raise _changed(source, listed, release)
    files = sorted((scratch / "lists").glob(f"*_{name}"))
    found = [path for path in files if storage.sha256(path) == source.sha256[name]]
    if not found:
        if code == 0 or any(sign in output for sign in clients.APT_PASSING):
            raise fetch_cache.BrokenTransferError(clients.last_error(output))
        raise SourceError(
            f"apt-get cannot fetch {title}",
            got=clients.last_error(output),
            expected=name,
            hint="run `apt-get update` as root: it shows whether apt's sources can be used",
        )
    return found[0]


def _configure(source: params.AptSource, name: str, scratch: Path) -> None:
    """Write a configuration with lists of its own, for one index file of the release's archives."""
    for folder in ("lists/partial", "cache/archives/partial"):
        (scratch / folder).mkdir(parents=True)
    (scratch / "status").touch()
    # What is fetched is verified by its pinned digest, so the archive's key need not be known.
    options = f"arch={source.architecture} trusted=yes"
    lines = [
        f"deb [{options}] {archive} {source.release} {source.component}\n"
        for archive in _archives(source, scratch)
    ]
    (scratch / "sources.list").write_text("".join(lines))
    packages = name == "Packages"
    (scratch / "apt.conf").write_text(
        CONFIG.format(
            scratch=scratch,
            language="none" if packages else name.removeprefix("Translation-"),
            packages=str(packages).lower(),
            translations=str(not packages).lower(),
        )
    )


def _archives(source: params.AptSource, scratch: Path) -> list[str]:
    """Return the addresses of the release's archives in apt's configuration."""
    title = f"the package index of {_title(source)}"
    code, output = clients.run(("apt-get", "indextargets", "--format", TARGETS), title, scratch)
    known = [line.split() for line in output.splitlines() if line.startswith("Packages ")] if not code else []
    found = [
        target[5]
        for target in known
        if len(target) == 6 and source.release in target[1:3] and source.component == target[3]
    ]
    if found:
        return list(dict.fromkeys(found))
    there = sorted({f"{target[1]} {target[3]}" for target in known if len(target) == 6})
    hint = "run `apt-get update` as root; if it is another release, add this one to apt's sources, or change "
    raise SourceError(
        f"apt has no index of {source.release} {source.component}",
        got=", ".join(there) or "no lists: apt-get update was never run, or they were removed",
        expected=f"{source.release} {source.component}",
        hint=f"{hint}source.release and its digests in params.yaml",
    )


def _listed(release: Path, source: params.AptSource) -> dict[str, str]:
    """Return the sha256 that a release file lists for each index that is wanted."""
    names = {f"{source.component}/binary-{source.architecture}/Packages": "Packages"}
    names |= {f"{source.component}/i18n/{name}": name for name in source.sha256 if name != "Packages"}
    lines = [line.split() for line in release.read_text("utf-8", "replace").splitlines() if line[:1] == " "]
    return {
        names[line[2]]: line[0]
        for line in lines
        if len(line) == 3 and len(line[0]) == 64 and line[2] in names
    }


def _changed(source: params.AptSource, listed: dict[str, str], release: Path) -> SourceError:
    about = dict(
        line.split(": ", 1)
        for line in release.read_text("utf-8", "replace").splitlines()
        if line.startswith(("Version: ", "Date: "))
    )
    when = f"version {about.get('Version', 'unknown')} of {about.get('Date', 'unknown date')}"
    got = "".join(f"\n    {name}: {listed.get(name, 'not in this release')}" for name in source.sha256)
    expected = "".join(f"\n    {name}: {digest or 'no digest'}" for name, digest in source.sha256.items())
    hint = "a point release replaces the index. To use the new one, copy these digests to source.sha256; for "
    hint += "the earlier one, give apt a snapshot archive of its date, or keep the folder of fetched files"
    return SourceError(
        f"the package index of {_title(source)} is not the pinned one: the archive has {when}",
        got=got,
        expected=expected,
        hint=hint,
    )
