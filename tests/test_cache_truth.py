"""dvc.yaml is correct: a stage's code `deps` are the packages that it imports, its `params` those it loads.

The closure is static: every import statement counts, also those inside functions. A module of a package
stands for the whole package, whose folder DVC digests (`.dvcignore` leaves out `__pycache__`). `EXEMPT` lists
exceptions, with reasons.
"""

import ast
import functools
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

ROOT = Path(__file__).parent.parent
STAGES = ("download", "preprocess", "tokenize", "finetune", "distill", "evaluate", "export")

EXEMPT = {
    "src/baton/errors.py": "messages only",
    "src/baton/console.py": "terminal output, never files",
    "src/baton/processes": "watches, signals and ends processes; what they compute is in runtime",
    "src/baton/params": "types and validation; the values are the stage's `params`",
    "src/baton/tracking": "records results, computes none",
    "src/baton/workspace": "git and DVC, which record results",
    "src/baton/serve": "records models, computes none",
}


def module_file(root: Path, name: str) -> Path | None:
    """Return the project file of a dotted name, or None (a library, or a name inside a module)."""
    base = root.joinpath("src" if name.partition(".")[0] == "baton" else "", *name.split("."))
    candidates = (base.with_suffix(".py"), base / "__init__.py")
    return next((path for path in candidates if path.is_file()), None)


def imported_names(source: str) -> set[str]:
    """Return the dotted names that imports may refer to; `from a import b` may be the module a.b."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports are not resolved here: write the full name"
            names |= {str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)}
    return {name for name in names if name.partition(".")[0] in {"baton", "stages", "benchmarks"}}


def exempt(file: str) -> bool:
    """Return whether `file`, relative to the root, is exempt or in an exempt package."""
    return any(file in {known, f"{known}.py"} or file.startswith(f"{known}/") for known in EXEMPT)


def closure(root: Path, stage: str) -> set[str]:
    """Return the project files that the stage imports, directly or indirectly.

    Exempt files, and files that only these import, are left out.
    """
    found: set[str] = set()
    todo = [f"stages.{stage}"]
    while todo:
        file = module_file(root, todo.pop())
        relative = file.relative_to(root).as_posix() if file else ""
        if not file or relative in found or exempt(relative):
            continue
        if file.name != "__init__.py":  # it holds only a docstring: test_packages_hold_no_code
            found.add(relative)
        todo += sorted(imported_names(file.read_text(encoding="utf-8")))
    return found


def folders(files: set[str]) -> set[str]:
    """Return the packages of the files, `src/baton/NAME`; other modules, and stages, as they are."""
    return {file if file.count("/") < 3 else "/".join(file.split("/")[:3]) for file in files}


def loaded_sections(source: str) -> set[str]:
    """Return the literal arguments of a stage's only `load(...)` call."""
    calls = [
        node
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call)
        and ast.unparse(node.func) in {"load", "params.load"}  # ast.unparse: `params.load`, not json.load
    ]
    assert len(calls) == 1, f"a stage calls load(...) once; found {len(calls)}"
    assert all(isinstance(argument, ast.Constant) for argument in calls[0].args), (
        "write the sections as literals"
    )
    return {argument.value for argument in calls[0].args if isinstance(argument, ast.Constant)}


def code_problem(root: Path, stage: str, entry: dict[str, Any]) -> str:
    """Return nothing, or the problem and the right list to paste."""
    listed = {str(path) for path in entry["deps"] if str(path).startswith(("src/", "stages/"))}
    expected = folders(closure(root, stage))
    if listed == expected:
        return ""
    problem = f"missing {sorted(expected - listed)}, superfluous {sorted(listed - expected)}"
    lines = [f"dvc.yaml, stage {stage}: {problem}; its code deps are:"]
    return "\n".join(lines + [f"      - {file}" for file in sorted(expected)])


def dvc_stages() -> dict[str, Any]:
    stages: dict[str, Any] = YAML(typ="safe", pure=True).load(
        (ROOT / "dvc.yaml").read_text(encoding="utf-8")
    )["stages"]
    return stages


def test_the_seven_stages() -> None:
    assert tuple(dvc_stages()) == STAGES


@pytest.mark.parametrize("stage", STAGES)
def test_code_deps_are_the_import_closure(stage: str) -> None:
    problem = code_problem(ROOT, stage, dvc_stages()[stage])
    assert not problem, problem


@pytest.mark.parametrize("stage", STAGES)
def test_params_are_what_the_stage_loads(stage: str) -> None:
    loaded = loaded_sections((ROOT / "stages" / f"{stage}.py").read_text(encoding="utf-8"))
    assert loaded == set(dvc_stages()[stage]["params"])


@pytest.mark.parametrize("stage", STAGES)
def test_command_and_lock(stage: str) -> None:
    entry = dvc_stages()[stage]
    assert entry["cmd"] == f"sh stages/run {stage}"
    assert "requirements.lock" in entry["deps"], (
        "Pillow decodes, tokenizers and timm configure: a new version may change any stage's result"
    )


def test_metrics_live_in_git() -> None:
    for stage, entry in dvc_stages().items():
        for metric in entry.get("metrics", []):
            (options,) = metric.values()
            assert options == {"cache": False}, f"{stage}: {metric}"


def test_packages_hold_no_code() -> None:
    packages = [
        package
        for package in ROOT.joinpath("src").rglob("__init__.py")
        if not exempt(package.relative_to(ROOT).as_posix())
    ]
    assert packages
    for package in packages:
        body = ast.parse(package.read_text(encoding="utf-8")).body
        assert len(body) <= 1, f"{package} holds code, but the closure leaves out __init__.py"
        assert ast.get_docstring(ast.Module(body, [])) is not None


def test_exemptions_exist() -> None:
    for known in EXEMPT:
        assert (ROOT / known).exists() or (ROOT / f"{known}.py").exists(), (
            f"{known} is gone: remove it from the list"
        )


# ---- negative controls: each check fails when it should ----


def made_up(root: Path, stage_source: str) -> None:
    files = {
        "stages/__init__.py": "",
        "stages/made.py": stage_source,
        "src/baton/__init__.py": '"""x"""',
        # An import inside a function.
        "src/baton/direct.py": "def work():\n    from baton.inner import deep\n    return deep\n",
        "src/baton/inner/__init__.py": '"""x"""',
        "src/baton/inner/deep.py": "import numpy\n",
        "src/baton/errors.py": "from baton import hidden\n",
        "src/baton/hidden.py": "",
    }
    for name, source in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(source)


def test_a_new_import_is_noticed(tmp_path: Path) -> None:
    entry = {"deps": ["data/raw", "stages/made.py", "src/baton/direct.py", "src/baton/inner"]}
    made_up(tmp_path, "from baton import direct, errors\n")
    assert code_problem(tmp_path, "made", entry) == ""
    entry["deps"].remove("src/baton/inner")
    assert "missing ['src/baton/inner']" in code_problem(tmp_path, "made", entry)
    made_up(tmp_path, "from baton import errors\n")
    assert "superfluous ['src/baton/direct.py']" in code_problem(tmp_path, "made", entry)


@pytest.mark.slow
def test_dvc_digests_a_package_by_its_sources(tmp_path: Path) -> None:
    """An edit of any of its modules makes a stage run again; compiled Python files do not."""
    run = functools.partial(subprocess.run, cwd=tmp_path, check=True, capture_output=True, text=True)
    (tmp_path / "code/inner/__pycache__").mkdir(parents=True)
    (tmp_path / "code/inner/deep.py").write_text("1")
    (tmp_path / ".dvcignore").write_text((ROOT / ".dvcignore").read_text())
    (tmp_path / "dvc.yaml").write_text(
        "stages: {made: {cmd: cp code/inner/deep.py out, deps: [code], outs: [out]}}"
    )
    run(["git", "init", "--quiet"])
    for words in (["init", "--quiet"], ["repro", "--quiet"]):
        run([sys.executable, "-m", "dvc", *words])
    (tmp_path / "code/inner/__pycache__/deep.pyc").write_text("2")
    assert "up to date" in run([sys.executable, "-m", "dvc", "status"]).stdout
    (tmp_path / "code/inner/deep.py").write_text("3")
    assert "modified" in run([sys.executable, "-m", "dvc", "status"]).stdout


def test_another_section_is_noticed() -> None:
    loading = 'settings = params.load("finetune", "runtime")'
    source = f'import json\nfrom baton import params\n{loading}\njson.load(open("x"))\n'
    assert loaded_sections(source) == {"finetune", "runtime"}
    with pytest.raises(AssertionError, match="literals"):
        loaded_sections("load(name)")
    with pytest.raises(AssertionError, match="once"):
        loaded_sections("load('a'); load('b')")
