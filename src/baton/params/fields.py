"""The base class of the sections and the types of their values."""

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field


def relative(value: str) -> str:
    """Refuse a path that leaves the project."""
    if not value or Path(value).is_absolute() or ".." in Path(value).parts:
        raise ValueError("must be a relative path without '..'")
    return value


def in_inbox(value: str) -> str:
    """Refuse a path outside inbox/."""
    if Path(relative(value)).parts[0] != "inbox":
        raise ValueError(
            "must be in inbox/, the folder that DVC watches, so that an edit to the data reruns the pipeline"
        )
    return value


def _digest(value: str) -> str:
    if not re.fullmatch(r"[0-9a-f]{64}", value):
        raise ValueError("must be a sha256: 64 lowercase hexadecimal digits (`sha256sum FILE` prints it)")
    return value


def _digest_or_unknown(value: str) -> str:
    return value and _digest(value)  # empty means "not known yet", as for a revision


def _revision(value: str) -> str:
    # An empty revision means "not known yet": the recipe validates, but `download` refuses to run it and
    # says how to obtain one.
    if value and not re.fullmatch(r"[0-9a-f]{40}", value):
        raise ValueError(
            "must be a commit of 40 hexadecimal digits; a branch, a tag or `latest` is not reproducible"
        )
    return value


def _repository(value: str) -> str:
    if not re.fullmatch(r"([A-Za-z0-9][A-Za-z0-9._-]*/)?[A-Za-z0-9][A-Za-z0-9._-]*", value):
        raise ValueError("must be a repository of the Hub: OWNER/NAME, or NAME")
    return value


def _run(value: str) -> str:
    if not re.fullmatch(r"[0-9a-f]{32}", value):
        raise ValueError(
            "must be a run's id: 32 lowercase hexadecimal digits (`baton trace models/teacher` prints it); "
            "a run's name can stand for several runs"
        )
    return value


def as_tuple(value: Any) -> Any:
    """Return one value as a tuple of it, and a list as a tuple."""
    return tuple(value) if isinstance(value, list | tuple) else (value,)


RelativePath = Annotated[str, AfterValidator(relative)]
InboxPath = Annotated[str, AfterValidator(in_inbox)]
Sha256 = Annotated[str, AfterValidator(_digest)]
Digest = Annotated[str, AfterValidator(_digest_or_unknown)]
Revision = Annotated[str, AfterValidator(_revision)]
Repository = Annotated[str, AfterValidator(_repository)]
RunId = Annotated[str, AfterValidator(_run)]
Argument = bool | int | float | str | None | tuple[int, ...]  # of an architecture
Share = Annotated[float, Field(gt=0, lt=1)]
Count = Annotated[int, Field(gt=0)]
Seed = Annotated[int, Field(ge=0)]
Policy = Literal["drop", "keep", "fail"]
Split = Literal["train", "val", "test"]


class Section(BaseModel):
    """A mapping in `params.yaml`: frozen, strict about types, without unknown keys or hidden defaults.

    The only keys that may be left out are those that would say nothing: a split that has no file
    (`PerSplit`), files that a source does not have (`unlabelled`, `soft_labels`), one of `batch_size` and
    `tokens`, how several tasks are mixed where there is one, and what is for one kind of input alone, which
    must be written there (`needed` in `applicable_keys`).
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)
