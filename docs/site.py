"""What `make docs` adds to the pages in docs/: the files of the root, and the reference, made from the code.

MkDocs calls the functions whose names begin with `on_`.
"""

import inspect
import posixpath
import re
import types
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Interval, Le, Lt, MinLen
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from pydantic import BaseModel
from typer.cli import get_docs_for_click
from typer.main import get_command

from baton import errors
from baton.cli.app import app
from baton.params.reading import Params

ROOT = Path(__file__).parent.parent
ROOT_PAGES = {  # files of the root that are pages of the site
    "README.md": "index.md",
    "SECURITY.md": "security.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "LOG.md": "log.md",
}
LINK = re.compile(
    r'(?P<before>\[(?P<text>[^\]]*)\]\(|src=")(?P<to>[^)"\s#]+)(?P<anchor>#[^)"\s]*)?(?P<after>[)"])'
)
PARAMS = """# params.yaml

Made from the types that check the file. A section of several kinds has a heading for each. There are no
hidden defaults: each recipe in `recipes/` is complete, and has a comment at each key that needs one.
"""
FETCHED, WORKER = "https://unpkg.com/iframe-worker/shim", "assets/frame_worker.js"
SHARED = 3  # recipes that must have a comment; others are about their own data
BOUNDS = {Gt: ">", Ge: "≥", Lt: "<", Le: "≤"}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages."""
    made = {page: (ROOT / name).read_text(encoding="utf-8") for name, page in ROOT_PAGES.items()}
    made |= {
        "reference/params.md": params_page(),
        "reference/commands.md": commands_page(),
        "reference/errors.md": errors_page(),
    }
    for page, content in made.items():
        files.append(File.generated(config, page, content=content))
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Lead links to where their targets are on the site; a file that is not on it stays as a name."""
    own = page.file.src_uri
    source = next((name for name, made in ROOT_PAGES.items() if made == own), f"docs/{own}")

    def moved(link: re.Match[str]) -> str:
        to = link["to"]
        if "://" in to or to.startswith("mailto:"):
            return link[0]
        path = posixpath.normpath(posixpath.join(posixpath.dirname(source), to))
        page = ROOT_PAGES.get(path, path.removeprefix("docs/") if path.startswith("docs/") else None)
        if page is None and (ROOT / path).exists():
            return f"{link['text']} (`{path}`)"
        target = posixpath.relpath(page or to, posixpath.dirname(own) or ".")
        return f"{link['before']}{target}{link['anchor'] or ''}{link['after']}"

    return LINK.sub(moved, markdown)


def on_post_page(output: str, page: Page, **_: Any) -> str:
    """Take the script with which the theme's search works without a server from the site itself."""
    assert page.url is not None
    return _own_worker(output, page.url)


def on_post_template(output_content: str, template_name: str, **_: Any) -> str:
    """Likewise in pages that are no documents, such as 404.html."""
    return _own_worker(output_content, template_name)


def _own_worker(html: str, page: str) -> str:
    return html.replace(FETCHED, posixpath.relpath(WORKER, posixpath.dirname(page) or "."))


def commands_page() -> str:
    """Return all commands with their options, as `--help` has them."""
    command = get_command(app)
    context: Any = command.context_class(command, info_name="baton")  # typed as a subclass of what it takes
    return get_docs_for_click(obj=command, ctx=context, name="baton", title="Commands")


def errors_page() -> str:
    """Return the kinds of errors."""
    intro, tree, end = inspect.cleandoc(errors.__doc__ or "").split("\n\n", 2)
    return f"# Errors\n\n{intro}\n\n```text\n{inspect.cleandoc(tree)}\n```\n\n{end}\n"


def params_page() -> str:
    """Return every section of params.yaml with its keys, from the types that check it."""
    found = defaultdict[str, Counter[str]](Counter)
    for path in sorted((ROOT / "recipes").glob("*.yaml")):
        for key, note in _notes(path.read_text(encoding="utf-8")):
            found[key][note] += 1
    common = {key: counts.most_common(1)[0] for key, counts in found.items()}
    notes = {key: note for key, (note, count) in common.items() if count >= SHARED}
    return "\n".join([PARAMS, *_sections(Params, "", set(), notes)])


def _notes(text: str) -> Iterator[tuple[str, str]]:
    """Yield the comments of a recipe, each with the dotted key at which it stands or which follows it."""
    parents, above = list[tuple[int, str]](), list[str]()
    for line in text.splitlines():
        match = re.fullmatch(r"( *)(?:([a-z_]+):(?: (?:[^#\"]|\"[^\"]*\"|(?<! )#)*)?)?(?: *# (.*))?", line)
        if match is None:
            above.clear()
            continue
        indent, key, note = len(match[1]), match[2], match[3]
        if key is None:
            above += [note] if note else []
            continue
        parents = [*(own for own in parents if own[0] < indent), (indent, key)]
        if own := " ".join([*above, *([note] if note else [])]):
            yield ".".join(name for _, name in parents), own
        above.clear()


def _sections(
    model: type[BaseModel], path: str, seen: set[type[BaseModel]], notes: Mapping[str, str]
) -> Iterator[str]:
    """Yield the text of a section and of those below it."""
    if model in seen:
        return
    seen.add(model)
    kind = _kind(model)
    heading = f"`{path}`" + (f", kind `{kind}`" if kind else "") if path else "The whole file"
    yield f"## {heading} {{ #{_anchor(model)} }}\n\n{inspect.cleandoc(model.__doc__ or '')}\n"
    yield "| key | value | comment in the recipes |\n|---|---|---|"
    keys = {name: f"{path}.{name}" if path else name for name in model.model_fields}
    for name in sorted(keys, key=lambda name: name != "kind"):
        value = _said(model.model_fields[name].rebuild_annotation())
        note = "" if name == "kind" else notes.get(keys[name], "").replace("|", "\\|")
        yield f"| `{name}` | {value} | {note} |"
    yield ""
    for name in sorted(keys, key=lambda name: name == "tasks"):  # whose sections are those of the main task
        for own in _models(model.model_fields[name].annotation):
            yield from _sections(own, keys[name], seen, notes)


def _anchor(model: type[BaseModel]) -> str:
    return re.sub(r"\W+", "-", model.__name__.lower()).strip("-")


def _kind(model: type[BaseModel]) -> str:
    field = model.model_fields.get("kind")
    return ", ".join(map(str, get_args(field.annotation))) if field else ""


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    """Yield the sections that a value may be, or hold."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _models(part)


def _said(annotation: Any) -> str:
    """Return in words what a key may hold."""
    origin, parts = get_origin(annotation), get_args(annotation)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        label = _kind(annotation) or annotation.__name__.partition("[")[0]
        return f"[{label}](#{_anchor(annotation)})"
    if origin is Annotated:
        bounds = [text for own in parts[1:] for text in _bounds(own)]
        return _said(parts[0]) + (f" {', '.join(bounds)}" if bounds else "")
    if origin is Literal:
        return ", ".join(f"`{_yaml(value)}`" for value in parts)
    if origin in {Union, types.UnionType}:
        return " or ".join(dict.fromkeys(_said(part) for part in parts))
    if origin is tuple:
        return f"list of {_said(parts[0])}"
    if origin is not None and len(parts) == 2:
        return f"mapping of {_said(parts[0])} to {_said(parts[1])}"
    return {
        str: "text",
        int: "whole number",
        float: "number",
        bool: "`true`, `false`",
        type(None): "`null`",
    }.get(annotation, "path" if annotation is Path else getattr(annotation, "__name__", str(annotation)))


def _bounds(own: Any) -> Iterator[str]:
    match own:
        case Gt() | Ge() | Lt() | Le():
            (value,) = [getattr(own, name) for name in ("gt", "ge", "lt", "le") if hasattr(own, name)]
            yield f"{BOUNDS[type(own)]} {value:g}"
        case MinLen():
            yield f"(at least {own.min_length})"
        case Interval():
            for part in own:
                yield from _bounds(part)
        case _ if hasattr(own, "metadata"):  # pydantic's Field
            for part in own.metadata:
                yield from _bounds(part)


def _yaml(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else "null" if value is None else str(value)
