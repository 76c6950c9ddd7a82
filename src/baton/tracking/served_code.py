"""The code of a served model: the file that MLflow runs, and the modules of this project that it imports.

They are the very modules that training runs. In a logged model they are a package whose name ends in their digest: an installed baton does
not matter, and models of several versions and kinds can be loaded into one process.
"""

import ast
import hashlib
import re
from pathlib import Path

import baton

PACKAGE = Path(baton.__path__[0])
MAIN = "pyfunc.py"
# By kind of input. Not imported: the files are for MLflow, and `serve` is a layer above `tracking`.
FILES = {"text": "serve/pyfunc.py", "images": "serve/pyfunc_image.py"}
IMPORT = re.compile(r"^(\s*(?:from|import)\s+)baton(?=[.\s])", re.MULTILINE)


def served(kind: str, package: Path = PACKAGE) -> dict[str, str]:
    """Return the code of models that read this kind of input: name of each file -> its text.

    `pyfunc.py` is the file to run; the others are `baton_DIGEST/…`, of which no name but the package's differs from the originals.
    """
    main = (package / FILES[kind]).read_text(encoding="utf-8")
    modules: dict[str, str] = {}
    todo = _imported(main, package)
    while todo:
        name = todo.pop()
        if name not in modules:
            modules[name] = (package / name).read_text(encoding="utf-8")
            todo |= _imported(modules[name], package)
    marks = "".join(f"{name}\n{text}\n" for name, text in sorted(modules.items()))
    own = f"baton_{hashlib.sha256(marks.encode()).hexdigest()[:12]}"
    renamed = {f"{own}/{name}": IMPORT.sub(rf"\1{own}", text) for name, text in sorted(modules.items())}
    return {MAIN: IMPORT.sub(rf"\1{own}", main), **renamed}


def _imported(source: str, package: Path) -> set[str]:
    """Return the files of our own that a module imports, and the `__init__.py` of each package on the way."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "baton":
            folder = package.joinpath(*str(node.module).split(".")[1:])
            for name in (folder.with_suffix(".py"), *(folder / f"{alias.name}.py" for alias in node.names)):
                found |= {name.relative_to(package).as_posix()} if name.is_file() else set()
    parents = {parent for name in found for parent in Path(name).parents}
    return found | {(parent / "__init__.py").as_posix() for parent in parents} if found else set()
