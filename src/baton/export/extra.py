"""The packages that exporting needs."""

from collections.abc import Sequence

from baton import extras
from baton.engines.engine import Library

PACKAGES: dict[Library, tuple[str, ...]] = {
    "onnxruntime": ("onnx", "onnxscript", "onnxruntime"),
    "openvino": ("onnx", "onnxscript", "openvino", "nncf"),
}


def require(engines: Sequence[Library]) -> None:
    """Refuse an export for which packages are missing.

    Raises:
        ParamsError: one is.
    """
    names = [name for library in engines for name in PACKAGES[library]]
    extras.require("export", "an export", dict(zip(names, names, strict=True)))
