"""Models that this project trained, as base models: their encoder without the head.

Input: a Baton model folder, of any task (a teacher or a student) -> a model folder as those of other sources.
"""

from pathlib import Path

from baton import params, storage
from baton.errors import SourceError
from baton.sources import base_checks, inbox_links, local_files

PREFIX = "backbone."  # of all weights outside the head
INFO = "baton.json"  # only Baton model folders have it


def named(base: params.LoggedBase) -> str:
    """Return where a logged model is from, as in manifest.json."""
    match base:
        case params.RegisteredBase():
            return f"models:/{base.name}/{base.version}, teacher"
        case params.RunBase():
            return f"runs:/{base.run}, {base.model}"


def take(source: Path, base: params.LoggedBase, folder: Path) -> None:
    """Copy the encoder of a logged model from its folder `source` into `folder`, if it is the pinned one.

    Raises:
        SourceError: the digest is missing or another one, or the model is damaged.
    """
    name, got = f"base model {named(base)}", storage.sha256_tree(source)
    if not base.sha256:
        raise SourceError(
            f"{name}: no pinned sha256",
            got="an empty sha256",
            expected=f"the model's digest, {got}",
            hint=f"check that it is the right model, then set its sha256 in params.yaml to: {got}",
        )
    if got != base.sha256:
        hint = "find out why it differs before you pin the new digest"
        raise SourceError(f"{name} has a different sha256", got=got, expected=base.sha256, hint=hint)
    for path in sorted(source.rglob("*")):
        if path.suffix in base_checks.HARMLESS:
            local_files.copy(path, folder / path.relative_to(source))
    behead(folder, named(base))


def digests(base: params.Base) -> list[str]:
    """Return the digests of the Baton model folders in `inbox/` from which a base model was taken."""
    match base:
        case params.LocalBase() if (Path(base.folder) / INFO).is_file():
            for path in Path(base.folder).rglob("*"):
                inbox_links.checked(path)
            return [storage.sha256_tree(Path(base.folder))]
        case params.ImageTextBase():
            return [digest for encoder in (base.image, base.text) for digest in digests(encoder)]
        case _:
            return []


def behead(folder: Path, origin: str) -> None:
    """Turn a Baton model folder into a base model: strip the prefix from the weights and drop the head.

    A model with two encoders becomes a folder for each.

    Raises:
        SourceError: the weights are damaged.
    """
    from safetensors.numpy import load_file, save_file

    path = folder / "model.safetensors"
    if path.is_file():  # the check common to all base models reports missing files
        base_checks.check_weights(path, origin)
        weights = load_file(path)
        path.unlink()
        of_several = {name: f"{PREFIX}{name}.{PREFIX}" for name in base_checks.encoders(folder)}
        for name, prefix in (of_several or {"": PREFIX}).items():
            own = {
                key.removeprefix(prefix): value for key, value in weights.items() if key.startswith(prefix)
            }
            save_file(own, folder / name / path.name)
    (folder / INFO).unlink(missing_ok=True)
