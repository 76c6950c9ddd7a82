"""The packages of the extra `export`, which not every user needs."""

from collections.abc import Sequence
from importlib import util

from baton.engines.engine import Library
from baton.errors import ParamsError

PACKAGES: dict[Library, tuple[str, ...]] = {
    "onnxruntime": ("onnx", "onnxscript", "onnxruntime"),
    "openvino": ("onnx", "onnxscript", "openvino", "nncf"),
}


def require(engines: Sequence[Library]) -> None:
    """Refuse an export for which packages are missing.

    Raises:
        ParamsError: one is.
    """
    wanted = dict.fromkeys(name for library in engines for name in PACKAGES[library])
    if missing := [name for name in wanted if util.find_spec(name) is None]:
        raise ParamsError(
            "an export needs packages that are not installed",
            got=f"no {', '.join(missing)}",
            expected=f"those of requirements-export.lock, for export.engines: {', '.join(engines)}",
            hint="run `make install EXTRAS=export`",
        )
