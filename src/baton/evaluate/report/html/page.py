"""Write reports/report.html from the tables of the report.

Inputs: reports/ (metrics.json, timings.json, tables, plots), the reports of data/clean and data/arrays, what
is known of the run -> one file without scripts of others, styles of others or any other request.
"""

import base64
import hashlib
from pathlib import Path

from markupsafe import Markup

from baton import storage
from baton.evaluate.report.html import pictures, svg
from baton.evaluate.report.html.about import About
from baton.evaluate.report.html.csv_reading import Reports
from baton.evaluate.report.html.parts import Parts
from baton.evaluate.report.wording import capital, percent

TEMPLATES = Path(__file__).parent / "templates"
NAME = "report.html"


def write(reports: Reports, about: About) -> Path:
    """Write the report next to its tables; return its path."""
    path = reports.folder / NAME
    with storage.atomic_file(path) as temporary:
        temporary.write_text(render(reports, about), encoding="utf-8")
    return path


def render(reports: Reports, about: About) -> str:
    """Return the page."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"percent": percent, "plain": plain, "capital": capital}
    style, script = (
        (TEMPLATES / name).read_text(encoding="utf-8").strip() for name in ("report.css", "report.js")
    )
    page = Parts(reports)
    return environment.get_template("report.html.j2").render(
        page=page,
        about=about,
        style=Markup(style),  # noqa: S704  our own files
        script=Markup(script),  # noqa: S704
        policy=_policy(style, script),
        kind=svg.kind,
        pictures=pictures.read(reports.clean, page.wanted),
    )


def plain(text: str) -> Markup:
    """Return a sentence for the terminal as HTML: escaped, with its bold words and without its colours."""
    escaped = str(Markup.escape(text))
    for style in ("bold green", "bold red", "bold"):
        escaped = escaped.replace(f"[{style}]", "<strong>")
    return Markup(escaped.replace("[/]", "</strong>"))  # noqa: S704  escaped above


def _policy(style: str, script: str) -> str:
    """Return a policy under which the page loads nothing and runs nothing but its own script."""
    own = (base64.b64encode(hashlib.sha256(part.encode()).digest()).decode() for part in (style, script))
    hashed = dict(zip(("style-src", "script-src"), own, strict=True))
    parts = ["default-src 'none'", "img-src data:", "base-uri 'none'", "form-action 'none'"]
    return "; ".join(parts + [f"{name} 'sha256-{digest}'" for name, digest in hashed.items()])
