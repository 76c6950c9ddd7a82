"""`task`: what is predicted for each row; `preprocess` describes it with the names found in the data.

Later stages read that description (`contracts.task_spec`), not this section.
"""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from baton.params.fields import Section


class ClassesTask(Section):
    """One class per row; a cell of the label column is the name of a class."""

    kind: Literal["classes"]

    metrics: ClassVar[tuple[str, ...]] = ("loss", "accuracy", "macro_f1")  # of validation
    gated: ClassVar[tuple[str, ...]] = ("accuracy", "macro_f1")  # by which the gate may decide


class LabelsTask(Section):
    """Any number of labels per row, none included.

    A cell of the label column is text, in which `separator` stands between the names of labels. If
    `separator` is null, a cell is a list of names: in JSON Lines and Parquet a list, in other files the text
    of a JSON list. An empty cell means no label.
    """

    kind: Literal["labels"]
    separator: Annotated[str, Field(min_length=1)] | None

    metrics: ClassVar[tuple[str, ...]] = ("loss", "micro_f1", "macro_f1")
    gated: ClassVar[tuple[str, ...]] = ("micro_f1", "macro_f1")


Task = Annotated[ClassesTask | LabelsTask, Field(discriminator="kind")]
