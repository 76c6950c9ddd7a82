"""An ONNX graph in fp32 -> the same graph for an engine and a precision: the candidates of an export.

int8 is computed in several ways, since none is best everywhere: by onnxruntime with activations quantized on
the fly (dynamic) or by ranges that were calibrated (static, QDQ), weights signed or not, a scale for each
tensor or each channel; by OpenVINO with NNCF, which chooses what to quantize in transformers and smooths
activations first (SmoothQuant, Xiao et al. 2023).
"""

import contextlib
import io
import logging
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from baton.engines import engine
from baton.engines.engine import Library, Precision
from baton.export.graphs import Arrays

Write = Callable[[Path, Path, Sequence[Arrays]], None]  # from the fp32 graph to a file, with calibration data


@dataclass(frozen=True)
class Candidate:
    """One way to compute an exported model."""

    name: str
    library: Library
    precision: Precision
    write: Write  # the same function for candidates of the same files
    rest: Literal["fp32", "bf16"] = "fp32"  # of what int8 does not cover


def candidates(engines: Sequence[Library], precisions: Sequence[Precision], text: bool) -> list[Candidate]:
    """Return the candidates of these engines and precisions; `text`: whether the model reads texts."""
    ort: Library = "onnxruntime"
    found = [Candidate("onnxruntime fp32", ort, "fp32", _copied)]
    for signed in (True, False):
        for channels in (False, True):
            kind = f"{'QInt8' if signed else 'QUInt8'}{', per channel' if channels else ''}"
            write = partial(_dynamic, signed=signed, channels=channels)
            found.append(Candidate(f"onnxruntime int8, dynamic, {kind}", ort, "int8", write))
    found.append(Candidate("onnxruntime int8, static, per channel", ort, "int8", partial(_static, text=text)))
    half, nncf = partial(_converted, half=True), partial(_nncf, text=text)
    found += [
        Candidate("openvino fp32", "openvino", "fp32", _converted),
        Candidate("openvino bf16", "openvino", "bf16", half),
        Candidate("openvino int8, NNCF", "openvino", "int8", nncf),
        Candidate("openvino int8, NNCF, the rest bf16", "openvino", "int8", nncf, "bf16"),
    ]
    return [
        own
        for own in found
        if own.library in engines and {own.precision} | ({own.rest} - {"fp32"}) <= set(precisions)
    ]


def _copied(source: Path, target: Path, _: Sequence[Arrays]) -> None:
    shutil.copyfile(source, target)


def _prepared(source: Path, target: Path) -> Path:
    """Write the graph with shapes inferred and constants folded, as quantization wants it."""
    from onnxruntime.quantization import quant_pre_process

    path = target.with_name(f"prepared_{source.name}")
    quant_pre_process(source, path, skip_symbolic_shape=True)
    return path


def _dynamic(source: Path, target: Path, _: Sequence[Arrays], signed: bool, channels: bool) -> None:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    kind = QuantType.QInt8 if signed else QuantType.QUInt8
    with _quiet():
        prepared = _prepared(source, target)
        quantize_dynamic(prepared, target, weight_type=kind, per_channel=channels)
    prepared.unlink()


def _static(source: Path, target: Path, calibration: Sequence[Arrays], text: bool) -> None:
    from onnxruntime.quantization import (
        CalibrationDataReader,
        CalibrationMethod,
        QuantFormat,
        QuantType,
        quantize_static,
    )

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.left = iter(calibration)

        def get_next(self) -> Any:
            return next(self.left, None)

    # In transformers, sums and norms lose more than they gain; the table of embeddings is most of the bytes.
    kinds = ["MatMul", "Gemm", "Gather"] if text else None
    with _quiet():
        prepared = _prepared(source, target)
        quantize_static(
            prepared,
            target,
            Reader(),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=kinds,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax,
            extra_options={"MatMulConstBOnly": True} if text else {},
        )
    prepared.unlink()


def _converted(source: Path, target: Path, _: Sequence[Arrays], half: bool = False) -> None:
    import openvino

    openvino.save_model(engine.core().read_model(source), target, compress_to_fp16=half)


def _nncf(source: Path, target: Path, calibration: Sequence[Arrays], text: bool) -> None:
    os.environ["NNCF_CI"] = "1"  # no telemetry
    import nncf
    import openvino

    with _quiet():
        nncf.set_log_level(logging.ERROR)
        quantized = nncf.quantize(
            engine.core().read_model(source),
            nncf.Dataset([dict(own) for own in calibration]),
            model_type=nncf.ModelType.TRANSFORMER if text else None,
            preset=nncf.QuantizationPreset.MIXED,
            subset_size=len(calibration),
        )
    openvino.save_model(quantized, target, compress_to_fp16=False)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep what the libraries print and log about their own internals out of the console."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        logging.disable(level)


def size(folder: Path, library: Library) -> int:
    """Return the bytes of a graph in a folder; OpenVINO keeps the weights in a second file."""
    path = folder / engine.FILES[library]
    return sum(own.stat().st_size for own in (path, path.with_suffix(".bin")) if own.is_file())
