"""What params may not ask of an export; one line per problem.

Input: the whole of params -> problems, each with its YAML path and the way out.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from baton.params.reading import Params


def problems(asked: "Params") -> Iterator[str]:
    """Yield the problems: what cannot be exported is refused before hours of training."""
    if asked.export is None:
        if asked.promotion.model == "export":
            yield (
                "promotion.model is export, but export is null: run `baton export`, or set promotion.model "
                "to student or teacher"
            )
        return
    if asked.task.kind == "sequence":
        yield (
            "export: task.kind is sequence, and a graph without a loop cannot write texts; set export to null"
        )
    if asked.export.engines == ("onnxruntime",) and asked.export.precisions == ("bf16",):
        yield (
            "export.precisions: onnxruntime does not compute bf16 on the CPU; add fp32 or int8, or add "
            "openvino to export.engines"
        )
