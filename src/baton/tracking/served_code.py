"""The code of a served model: the file that MLflow runs, and the modules of this project that it imports.

They are the same modules that training runs. In a logged model they form a package whose name ends in their
digest: an installed Baton has no effect, and models of several versions and kinds can be loaded into one
process.
"""

import ast
import hashlib
import re
from pathlib import Path

import baton

PACKAGE = Path(baton.__path__[0])
MAIN = "pyfunc.py"
IMPORT = re.compile(r"^(\s*(?:from|import)\s+)baton(?=[.\s])", re.MULTILINE)


def served(main: str, package: Path = PACKAGE) -> dict[str, str]:
    """Return the code of a served model, as a dict from file name to text.

    `main` is a file of the package, such as `serve/pyfunc.py`, that becomes `pyfunc.py`.
    MLflow runs `pyfunc.py`; the other files are `baton_DIGEST/…` and differ from the originals only in the
    name of the package.
    """
    source = (package / main).read_text(encoding="utf-8")
    modules: dict[str, str] = {}
    todo = _imported(source, package)
    while todo:
        name = todo.pop()
        if name not in modules:
            modules[name] = (package / name).read_text(encoding="utf-8")
            todo |= _imported(modules[name], package)
    marks = "".join(f"{name}\n{text}\n" for name, text in sorted(modules.items()))
    own = f"baton_{hashlib.sha256(marks.encode()).hexdigest()[:12]}"
    renamed = {f"{own}/{name}": IMPORT.sub(rf"\1{own}", text) for name, text in sorted(modules.items())}
    return {MAIN: IMPORT.sub(rf"\1{own}", source), **renamed}


def _imported(source: str, package: Path) -> set[str]:
    """Return the Baton files that a module imports, and the `__init__.py` of each package around them."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "baton":
            folder = package.joinpath(*str(node.module).split(".")[1:])
            for name in (folder.with_suffix(".py"), *(folder / f"{alias.name}.py" for alias in node.names)):
                found |= {name.relative_to(package).as_posix()} if name.is_file() else set()
    parents = {parent for name in found for parent in Path(name).parents}
    return found | {(parent / "__init__.py").as_posix() for parent in parents} if found else set()
