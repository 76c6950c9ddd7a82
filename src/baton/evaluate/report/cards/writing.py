"""Write reports/cards from the tables of the report and the facts of the project.

Inputs: `Project` -> MODEL_CARD.md (of the student), MODEL_CARD_TEACHER.md and DATA_CARD.md. The same inputs
give the same bytes: speeds and times are in timings.json, commit and run in the registry.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from huggingface_hub.repocard import DatasetCard, ModelCard, RepoCard
from huggingface_hub.repocard_data import CardData

from baton import storage
from baton.evaluate.report.cards import data_card, metadata, model_card
from baton.evaluate.report.cards.facts import Facts, Project
from baton.evaluate.report.cards.markdown import Markdown, code, escaped, paragraph
from baton.evaluate.report.html.parts import Parts
from baton.evaluate.report.wording import percent

TEMPLATES = Path(__file__).parent / "templates"
FOLDER = "cards"  # of reports
MODEL_CARDS = {"student": "MODEL_CARD.md", "teacher": "MODEL_CARD_TEACHER.md"}
DATA_CARD = "DATA_CARD.md"


def write(project: Project) -> None:
    """Write all cards."""
    found = render(project)
    with storage.atomic_folder(project.reports.folder / FOLDER) as folder:
        for name, text in found.items():
            (folder / name).write_text(text, encoding="utf-8")


def render(project: Project) -> dict[str, str]:
    """Return the name of each card -> its text."""
    parts, facts = Parts(project.reports), Facts(project)
    found = {
        name: _card(
            ModelCard, metadata.of_model(parts, facts, model), model_card.context(parts, facts, model)
        )
        for model, name in MODEL_CARDS.items()
    }
    return found | {
        DATA_CARD: _card(DatasetCard, metadata.of_data(parts, facts), data_card.context(parts, facts))
    }


def _card(kind: type[RepoCard], block: CardData, context: Mapping[str, Any]) -> str:
    """Return a card as its class writes it, which has read it first."""
    name = "model_card.md.j2" if kind is ModelCard else "data_card.md.j2"
    return str(kind(f"---\n{block.to_yaml(line_break=chr(10))}\n---\n\n{_body(name, context)}"))


def _body(name: str, context: Mapping[str, Any]) -> str:
    """Return the text below the block; `finalize` escapes everything that is not Markdown already."""
    import jinja2

    environment = jinja2.Environment(  # noqa: S701  Markdown: `finalize` escapes HTML too
        loader=jinja2.FileSystemLoader(TEMPLATES),
        finalize=escaped,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"paragraph": paragraph, "code": code, "percent": percent, "bold": _bold}
    return environment.get_template(name).render(context)


def _bold(sentence: str) -> Markdown:
    """Return a sentence for the terminal as Markdown, without its colours."""
    text = str(sentence)
    for style in ("[bold green]", "[bold red]", "[bold]", "[/]"):
        text = text.replace(style, "")
    return escaped(text)
