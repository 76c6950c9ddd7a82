"""YAML from outside: what is small in the file stays small in memory, and every fault is one clear error."""

import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from ruamel.yaml.error import YAMLError

from baton import params
from baton.compare import strategies
from baton.errors import BatonError, DataError, ParamsError
from baton.params import editing
from baton.workspace.dvc_graph import Graph

ROOT = Path(__file__).parent.parent
SECONDS, BYTES = 60, 2**32


def bomb(levels: int) -> str:
    """Return YAML in which each level is a list of nine times the level before."""
    lines = [f"x0: &x0 [{', '.join(['lol'] * 9)}]"]
    lines += [f"x{level}: &x{level} [{', '.join([f'*x{level - 1}'] * 9)}]" for level in range(1, levels)]
    return "\n".join(lines)


@pytest.mark.parametrize(
    "read",
    [
        "params.read()",
        "strategies.read(params.PATH)",
        "params.parse(params.PATH.read_text(), 'x')",
    ],
)
def test_aliases_of_aliases_are_refused_at_once(tmp_path: Path, read: str) -> None:
    """In a process of its own, with limits: where the bomb goes off, this one must not."""
    (tmp_path / "params.yaml").write_text(bomb(12))
    program = f"""
from baton import params
from baton.compare import strategies
from baton.errors import ParamsError
try:
    {read}
except ParamsError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (BYTES, BYTES)),
    )
    assert "is not valid YAML" in done.stdout and "100,000 values" in done.stdout, done.stderr[-1000:]
    assert "line: 6" in done.stdout or "line 6" in done.stdout, done.stdout


@pytest.mark.parametrize(
    "text",
    [
        "a: &a [*a]",  # contains itself
        "a: &a {b: 1, c: {d: [*a]}}",
        "a: *b",
        "a: " + "[" * 5000,
        "a: " + "[" * 100 + "]" * 100,
        "a: " + "9" * 5000,
        "a: 2024-99-99",
        "a: !!python/object/apply:os.system [id]",
        "a: !!timestamp tomorrow",
        "a: \x00",
        "a: !!int x",
        "# " + "x" * 2**22,
    ],
    ids=lambda text: text[:20],
)
@pytest.mark.parametrize(
    ("read", "error"),
    [
        (params.read, ParamsError),
        (strategies.read, ParamsError),
        (lambda path: Graph(path.read_text(), "the test"), DataError),
    ],
    ids=["params", "strategies", "dvc.lock"],
)
def test_every_fault_is_one_clear_error(
    tmp_path: Path, text: str, read: Callable[[Path], object], error: type[BatonError]
) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(text)
    with pytest.raises(error, match=r"(?s)is not valid YAML|is too long|cannot be read") as caught:
        read(path)
    assert "got:" in str(caught.value) and len(str(caught.value)) < 10_000


def test_editing_has_the_same_bounds() -> None:
    with pytest.raises(YAMLError, match=r"100,000 values"):
        editing.edited(bomb(12), {"x0": 1})


def test_an_alias_is_a_copy() -> None:
    read = params.parse("a: &a {b: [1]}\nc: *a\nd:\n  <<: *a\n  e: 2", "x")
    assert read == {"a": {"b": [1]}, "c": {"b": [1]}, "d": {"b": [1], "e": 2}}
    read["a"]["b"].append(2)
    assert read["c"] == {"b": [1]} and read["d"]["b"] == [1]


def test_as_many_values_as_a_file_may_have() -> None:
    assert len(params.parse(f"a: &a [{'1, ' * 999}1]\nb: [{'*a, ' * 97}*a]", "x")["b"]) == 98
    with pytest.raises(ParamsError, match=r"100,000 values"):
        params.parse(f"a: &a [{'1, ' * 999}1]\nb: [{'*a, ' * 99}*a]", "x")
