"""`runtime` and `tracking`: how and where tensors are computed, and where runs are recorded."""

from typing import Annotated, Literal

from pydantic import Field

from baton.params.fields import Count, Section


class Runtime(Section):
    """How and where tensors are computed; `auto` is resolved once, and the reason is printed and logged."""

    device: Literal["auto", "cpu", "cuda"]
    precision: Literal["auto", "bf16", "fp16", "tf32", "fp32"]
    attention: Literal["auto", "matmul", "sdpa"]
    compile: bool | Literal["auto"]
    packing: bool | Literal["auto"]
    threads: Count | Literal["auto"]
    processes: Count | Literal["auto"]
    launcher: Annotated[str, Field(min_length=1)] | None  # `torchrun …` or `srun …`: starts the processes
    sharding: Literal["none", "full"]
    loader_workers: Annotated[int, Field(ge=0)] | Literal["auto"]
    data_on_device: bool | Literal["auto"]
    deterministic: bool
    gradient_checkpointing: bool
    checkpoint_seconds: Annotated[float, Field(gt=0)]


class MlflowTracking(Section):
    """MLflow. `uri: null` means the project's own SQLite store."""

    kind: Literal["mlflow"]
    uri: str | None
    experiment: str


class NoTracking(Section):
    """Record nothing."""

    kind: Literal["off"]


Tracking = Annotated[MlflowTracking | NoTracking, Field(discriminator="kind")]
