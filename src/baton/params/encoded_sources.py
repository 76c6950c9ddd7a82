"""`source` of images and sound: where the encoded files come from, and what labels each."""

from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from baton.params.fields import Digest, InboxPath, Section, as_tuple
from baton.params.formats import Format
from baton.params.packages import Package
from baton.params.split_files import Files, InboxFiles, watched

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
            watched(self.folders)
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
