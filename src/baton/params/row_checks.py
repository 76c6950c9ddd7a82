"""`preprocess.checks`: what happens to rows in which a check finds something."""

from typing import Annotated, Literal

from pydantic import Field

from baton.params.fields import Policy, Section


class OtherClass(Section):
    """Merge small classes into one with this name."""

    other: Annotated[str, Field(min_length=1)]

    def __str__(self) -> str:
        return f"other: {self.other}"


class RowChecks(Section):
    """The policies for rows with a defect.

    `drop` removes them from train and validation, and from test only if a row cannot be scored at all
    (malformed, invalid_utf8, empty, unreadable, enormous, missing_label, unseen_label); `report.json` lists
    each by id. `keep` only reports them; `fail` stops the stage. A row that cannot be read or has no label
    cannot be kept. `similar_labels` are spellings that look alike (`spam` and `Spam`, 1 and 01) or like a
    missing value (`nan`); `continuous_labels` are numbers that look like regression targets; neither drops
    rows.

    `near_duplicate` finds rows that are nearly identical to an earlier row of their file or to a row of a
    later split. Under any policy, near duplicates stay together when splits are cut, and `report.json` lists
    the test rows that have one in train or val.

    `small_class` finds classes with too few distinct texts (or images) to put one into every split that is
    cut. `drop` removes the class from all files, `train_only` leaves it in train (none of it is moved to
    other splits; rows of the validation and test files stay), and `{other: NAME}` merges such classes into
    one.
    """

    malformed: Literal["drop", "fail"]
    missing_label: Literal["drop", "fail"]
    similar_labels: Literal["keep", "fail"]
    continuous_labels: Literal["keep", "fail"]
    unseen_label: Policy
    duplicate: Policy
    leakage: Policy
    near_duplicate: Policy
    conflict: Policy
    small_class: Policy | Literal["train_only"] | OtherClass
    drift: Literal["keep", "fail"]


class Checks(RowChecks):
    """The checks of texts.

    `group_leakage` finds train rows whose group is also in val or test; `time_leakage` finds those that are
    not earlier than val and test (if params name such a column). Dropping them loses data, so `max_dropped`
    counts them.
    """

    invalid_utf8: Policy
    mojibake: Policy
    empty: Policy
    group_leakage: Policy
    time_leakage: Policy


class ImageChecks(RowChecks):
    """The checks of images.

    `unreadable` finds images that cannot be decoded completely, `enormous` those with more than `max_pixels`;
    neither can be kept. `misnamed` finds images in a different format than their name says, `animated` those
    with several frames (the first is used), and `transparent` those whose pixels are all transparent.
    """

    unreadable: Literal["drop", "fail"]
    enormous: Literal["drop", "fail"]
    misnamed: Policy
    animated: Policy
    transparent: Policy


class AudioChecks(RowChecks):
    """The checks of clips of sound.

    `unreadable` finds clips that cannot be decoded completely, `enormous` those longer than `max_seconds`;
    neither can be kept. `misnamed` finds clips in a different format than their name says, `silent` those
    without sound, and `clipped` those that were recorded too loud.
    """

    unreadable: Literal["drop", "fail"]
    enormous: Literal["drop", "fail"]
    misnamed: Policy
    silent: Policy
    clipped: Policy


class ImageTextChecks(ImageChecks):
    """The checks of images with a text each.

    A row is a `duplicate` of another, or in `conflict` with it, if both its image and its text are the same.
    `leakage` and `near_duplicate` go by the image alone: rows of one image stay in one split.
    """

    invalid_utf8: Policy
    mojibake: Policy
    empty: Policy
