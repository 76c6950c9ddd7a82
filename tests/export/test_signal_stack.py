"""Signals can be handled after OpenVINO's engines have come and gone, in any order."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from baton.engines import engine
from baton.export import quantization
from tests.conftest import ROOT
from tests.exported import Exported

TWO = """
first, second = [engine.load(graph, folder, 1) for _ in range(2)]
del first
del second
"""
QUANTIZED = """
rows = {name: np.ones((1, 4), np.int64) for name in names}
first = engine.load(graph, folder, 1)
(nncf,) = [own for own in quantization.candidates(("openvino",), ("int8",), text=True) if own.rest == "fp32"]
nncf.write(source, folder / "int8.xml", [rows] * 2)
del first
"""
SCRIPT = """
import os, signal, sys
from pathlib import Path
import numpy as np
from baton.engines import engine
from baton.export import quantization

source, folder, names = Path(sys.argv[1]), Path(sys.argv[2]), tuple(sys.argv[3:])
graph = engine.Graph("openvino", "fp32", names)
handled = []
signal.signal(signal.SIGTERM, lambda *_: handled.append("handled"))
{do}
os.kill(os.getpid(), signal.SIGTERM)
print(*handled)
"""


STACK = ("-X", "faulthandler")  # sets a stack of its own


@pytest.mark.parametrize(
    ("do", "own"), [(TWO, ()), (TWO, STACK), (QUANTIZED, STACK)], ids=["engines", "a stack before", "NNCF"]
)
def test_a_signal_is_handled(text_export: Exported, tmp_path: Path, do: str, own: tuple[str, ...]) -> None:
    """Of two plugins for CPUs, the one that ends last put back a stack for handlers that was freed."""
    (candidate,) = quantization.candidates(("openvino",), ("fp32",), text=True)
    candidate.write(text_export.graph, tmp_path / engine.FILES["openvino"], [])
    done = subprocess.run(
        [sys.executable, *own, "-c", SCRIPT.format(do=do), text_export.graph, tmp_path, *text_export.names],
        capture_output=True,
        check=False,
        text=True,
        env=os.environ | {"PYTHONPATH": f"{ROOT}/src:{ROOT}"},
    )
    assert (done.returncode, done.stdout) == (0, "handled\n"), done.stderr
