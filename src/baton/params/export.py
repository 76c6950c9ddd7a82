"""`export`: the model that is computed without torch."""

from typing import Annotated, Literal

from pydantic import Field

from baton.params.evaluate import Bootstrap
from baton.params.fields import Count, Section, Share


class Export(Section):
    """A model exported to a graph for onnxruntime or OpenVINO, in the fastest way that keeps its answers.

    All combinations of `engines` and `precisions` are tried on up to `rows` rows of validation; those that
    give less than `same` of the model's answers, or whose main figure is worse by more than `loss`, are left
    out. The fastest of the others is measured on test, and refused if it is beyond these limits there.
    """

    model: Literal["student", "teacher"]
    engines: Annotated[tuple[Literal["onnxruntime", "openvino"], ...], Field(min_length=1)]
    precisions: Annotated[tuple[Literal["fp32", "bf16", "int8"], ...], Field(min_length=1)]
    same: Share
    # Of the main figure: 0.005 is half a point of a share such as accuracy, and 0.5% of an error such as MAE.
    loss: Annotated[float, Field(ge=0)]
    rows: Count
    calibration_rows: Count  # of train, by which the ranges of int8 are set
    batch_size: Count
    seconds: Annotated[
        float, Field(gt=0)
    ]  # each of the two measurements of speed ends then, after three rounds
    bootstrap: Bootstrap
