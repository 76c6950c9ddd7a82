"""`tasks`: further tasks that are trained together with the main one, and share its encoder."""

from typing import Annotated, Literal

from pydantic import Field

from baton.params.fields import Section
from baton.params.heads import Head
from baton.params.preprocess import Preprocess
from baton.params.source import Source
from baton.params.task import Task

TaskName = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]*$")]


class OtherTask(Section):
    """A task beside the main one, with data and a head of its own.

    Without a `source`, it reads the raw files of the main one: another label column of the same rows. Its
    loss is multiplied by `weight`; the main task's has weight 1.
    """

    source: Source | None
    task: Task
    preprocess: Preprocess
    head: Head
    weight: Annotated[float, Field(gt=0)]


Tasks = dict[TaskName, OtherTask]


class UniformMixing(Section):
    """Each task has as many steps as any other."""

    kind: Literal["uniform"]


class ProportionalMixing(Section):
    """A task's steps are in proportion to its train rows."""

    kind: Literal["proportional"]


class TemperatureMixing(Section):
    """A task's steps are in proportion to its train rows to the power of 1 / `temperature`.

    1 is `proportional`; the higher, the closer to `uniform`.
    """

    kind: Literal["temperature"]
    temperature: Annotated[float, Field(ge=1)]


Mixing = Annotated[UniformMixing | ProportionalMixing | TemperatureMixing, Field(discriminator="kind")]
