"""`task`: what is predicted for each row; `preprocess` describes it with the names found in the data.

Later stages read that description (`contracts.task_spec`), not this section.
"""

from typing import ClassVar, Literal

from baton.params.fields import Section


class ClassesTask(Section):
    """One class per row; a cell of the label column is the name of a class."""

    kind: Literal["classes"]

    metrics: ClassVar[tuple[str, ...]] = ("loss", "accuracy", "macro_f1")  # of validation
    gated: ClassVar[tuple[str, ...]] = ("accuracy", "macro_f1")  # by which the gate may decide


Task = ClassesTask
