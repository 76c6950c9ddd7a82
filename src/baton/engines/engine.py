"""A model exported to a graph, computed by onnxruntime or OpenVINO on the CPU.

Input: a folder with the graph and its description, `graph` in baton.json. Output: an `Engine`, which maps
arrays to logits. Served models carry this module, so it imports an engine's library only to use it.
"""

import functools
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from baton import processors

KEY = "graph"  # of its description in baton.json
Library = Literal["onnxruntime", "openvino"]
Precision = Literal["fp32", "bf16", "int8"]
FILES: dict[Library, str] = {"onnxruntime": "model.onnx", "openvino": "model.xml"}


@dataclass(frozen=True)
class Graph:
    """What computes an exported model."""

    engine: Library
    precision: Precision
    inputs: tuple[str, ...]  # some of input_ids, attention_mask, owners, token_type_ids and pixels
    rest: Literal["fp32", "bf16"] = "fp32"  # of what int8 does not cover


class Engine(Protocol):
    """A loaded graph; one thread at a time may use it."""

    def run(self, arrays: Mapping[str, NDArray[Any]]) -> NDArray[np.float32]:
        """Return the logits of a batch: (batch, width), or of every token, (windows, length, width)."""
        ...


def described(graph: Graph) -> dict[str, Any]:
    """Return a description as it is written to baton.json."""
    return asdict(graph) | {"inputs": list(graph.inputs)}


def read(raw: Mapping[str, Any]) -> Graph:
    """Return the graph that a baton.json describes."""
    return Graph(raw["engine"], raw["precision"], tuple(raw["inputs"]), raw.get("rest", "fp32"))


def load(graph: Graph, folder: Path, threads: int | None = None) -> Engine:
    """Load the graph in a folder, to be computed by this many threads; None: one per processor."""
    count = threads or computing_threads()
    match graph.engine:
        case "onnxruntime":
            return _OnnxRuntime(folder / FILES["onnxruntime"], count)
        case "openvino":
            return _OpenVino(folder / FILES["openvino"], "bf16" in {graph.precision, graph.rest}, count)


def computing_threads() -> int:
    """Return how many threads to compute with: `OMP_NUM_THREADS`, or the processors of this process."""
    said = os.environ.get("OMP_NUM_THREADS", "")
    if said.isdecimal() and int(said):
        return int(said)
    return processors.available()


@functools.cache
def core() -> Any:
    """Return this process's `openvino.Core`, which stays until the end.

    Its plugin for CPUs gives the thread that loads it another stack for signal handlers. When the plugin
    goes, it frees that stack and puts back the one before. If two plugins go in the order in which they came,
    the stack that is put back is free, and the next signal that Python handles ends the process (SIGSEGV).
    """
    import openvino

    return openvino.Core()


class _OnnxRuntime:
    def __init__(self, path: Path, threads: int) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3  # errors
        # Threads would spin for a while after a batch, on processors that others need.
        options.add_session_config_entry("session.force_spinning_stop", "1")
        self._session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def run(self, arrays: Mapping[str, NDArray[Any]]) -> NDArray[np.float32]:
        return np.asarray(self._session.run(None, dict(arrays))[0])


class _OpenVino:
    def __init__(self, path: Path, short: bool, threads: int) -> None:
        settings = {
            "INFERENCE_NUM_THREADS": threads,
            "PERFORMANCE_HINT": "LATENCY",
            # Of what is not computed in int8; OpenVINO would take bf16 wherever the processor has it.
            "INFERENCE_PRECISION_HINT": "bf16" if short else "f32",
        }
        self._request = core().compile_model(path, "CPU", settings).create_infer_request()

    def run(self, arrays: Mapping[str, NDArray[Any]]) -> NDArray[np.float32]:
        return np.array(self._request.infer(dict(arrays))[0])  # a copy: the request reuses its memory
