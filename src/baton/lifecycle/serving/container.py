"""`baton serve --dockerfile FOLDER`: a container that serves a model and needs nothing of this project.

FOLDER gets the verified model, the server's code, the exact packages that both need, with their digests, and
a Dockerfile that puts them together.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from shutil import copytree
from typing import Any

from packaging.requirements import Requirement

from baton import storage, tracking
from baton.errors import ModelError, OutputError
from baton.lifecycle.serving.application import ABOUT
from baton.tracking import environment, served_code

PORT = 8080
SERVER = "lifecycle/serving/application.py"
OF_SERVER = ("mlflow", "uvicorn", "starlette")
DOCKERFILE = """# A server of {named}, made by `baton serve --dockerfile`.
FROM python:3.11-slim
WORKDIR /app
COPY requirements.txt .
# Only wheels with these digests are installed.
RUN pip install --no-cache-dir --no-deps --require-hashes --only-binary=:all: -r requirements.txt
COPY server/ server/
COPY model/ model/
RUN useradd --system baton
USER baton
ENV {settings}
EXPOSE {port}
HEALTHCHECK --start-period=60s CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:{port}/health')"]
CMD ["python", "-B", "server/{main}", "model", "0.0.0.0", "{port}"]
"""


def write(folder: Path, said: Mapping[str, Any], out: Path) -> None:
    """Write a container's files.

    Args:
        folder: the verified files of the model.
        said: what answers say of it (`launch.about`).
        out: the folder to create.

    Raises:
        OutputError: it exists.
        ModelError: the locks lack a package that the model needs.
    """
    if out.exists():
        hint = "choose a folder that does not exist"
        raise OutputError(f"{out} exists", expected="a folder to create", hint=hint)
    wanted = [Requirement(line) for line in _lines(folder / "requirements.txt")]
    locked = locked_lines([own.name for own in wanted], environment.LOCKS)
    with storage.atomic_folder(out) as temporary:
        copytree(folder, temporary / "model")
        (temporary / "requirements.txt").write_text(locked, encoding="utf-8")
        for name, text in served_code.served(SERVER).items():
            path = temporary / "server" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        (temporary / "Dockerfile").write_text(dockerfile(said), encoding="utf-8")
        for path in temporary.rglob("*"):  # the container's user owns nothing; safetensors writes for its own
            path.chmod(0o755 if path.is_dir() else 0o644)


def dockerfile(said: Mapping[str, Any]) -> str:
    """Return the Dockerfile; `said` is what answers say of the model."""
    variables = {
        **tracking.SETTINGS,
        "MALLOC_ARENA_MAX": "2",
        "HOME": "/tmp",  # noqa: S108  in the container
        ABOUT: json.dumps(said),
    }
    settings = " \\\n    ".join(f"{name}={json.dumps(value)}" for name, value in variables.items())
    return DOCKERFILE.format(named=_named(said), settings=settings, port=PORT, main=served_code.MAIN)


def tag(said: Mapping[str, Any]) -> str:
    """Return a name for the image."""
    return re.sub(r"[^a-z0-9._:-]", "-", _named(said).lower())


def locked_lines(packages: Iterable[str], locks: Sequence[Path]) -> str:
    """Return the lines of the locks for packages, for those of the server, and for what all of them need.

    Raises:
        ModelError: the locks lack one.
    """
    wanted = _with_dependencies([*packages, *OF_SERVER])
    known: dict[str, str] = {}
    for lock in locks:
        text = lock.read_text(encoding="utf-8") if lock.is_file() else ""
        for entry in re.split(r"\n(?=\S)", text):
            if match := re.match(r"([\w.-]+)==", entry):
                known.setdefault(_plain(match[1]), entry.strip())
    if missing := sorted(wanted - known.keys()):
        raise ModelError(
            "the locks lack packages that this model's server needs",
            got=f"no {', '.join(missing)}",
            expected=f"lines in {' or '.join(map(str, locks))}",
            hint="serve the model in the checkout that made it, or run `make lock`",
        )
    return "\n".join(known[name] for name in sorted(wanted)) + "\n"


def _with_dependencies(packages: Iterable[str]) -> set[str]:
    """Return the names of packages and of all that they need on this platform, as they are installed here."""
    found, todo = set[str](), [Requirement(name) for name in packages]
    while todo:
        own = todo.pop()
        name = _plain(own.name)
        if name in found:
            continue
        found.add(name)
        for line in metadata.requires(name) or ():
            needed = Requirement(line)
            if needed.marker is None or any(
                needed.marker.evaluate({"extra": extra}) for extra in (own.extras or {""})
            ):
                todo.append(needed)
    return found


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _lines(path: Path) -> list[str]:
    return [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def _named(said: Mapping[str, Any]) -> str:
    model = said.get("model", {})
    return f"{model['name']}:{model['version']}" if "version" in model else str(model.get("id", "model"))
