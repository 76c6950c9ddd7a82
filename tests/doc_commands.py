"""The commands in README.md and docs/: indented or fenced blocks, and those within a sentence."""

import re
import shlex
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
FENCED = re.compile(r"^ *```(\w*)\n(.*?)^ *```", re.DOTALL | re.MULTILINE)
INDENTED = re.compile(r"(?:\A|(?<=\n\n))((?: {4}.*(?:\n|\Z))+)")
INLINE = re.compile(r"`([^`]+)`")
SHELL = {"", "sh"}  # languages of fences with commands
LANGUAGES = SHELL | {"yaml", "python", "csv", "json", "text", "mermaid"}
PROGRAMS = (
    "baton",
    "make",
    "dvc",
    "mlflow",
    "python",
    "git",
    "cp",
    "mkdir",
    "cd",
    "export",
    "curl",
    "sed",
    "mv",
    "srun",
    "pip",
    "python3",
)


def blocks(page: Path) -> list[str]:
    """Return the blocks of a page with a line that is a command, without their indentation."""
    text = page.read_text(encoding="utf-8")
    fenced = [body for language, body in FENCED.findall(text) if language in SHELL]
    indented = INDENTED.findall(FENCED.sub("", text))
    plain = ["\n".join(line.strip() for line in block.strip("\n").split("\n")) for block in fenced + indented]
    return [block for block in plain if any(map(_is_command, block.replace("\\\n", " ").split("\n")))]


def commands(page: Path) -> list[list[str]]:
    """Return the words of each command of a page, also of those within a sentence."""
    text = page.read_text(encoding="utf-8")
    lines = [line for block in blocks(page) for line in block.replace("\\\n", " ").split("\n")]
    inline = [" ".join(found.split()) for found in INLINE.findall(FENCED.sub("", text))]
    parts = [
        part.strip()
        for line in (*lines, *(found for found in inline if _is_command(found)))
        for part in re.split(r"&&|\|\||[;&|](?=\s|$)", line)
    ]
    return [words for part in parts if (words := _words(part))]


def _is_command(line: str) -> bool:
    words = re.sub(r"^([A-Z_]+=\S* )+", "", line).split()  # a quote may end on a later line
    return len(words) > 1 and words[0].rpartition("/")[2] in (*PROGRAMS, ".")


def _words(line: str) -> list[str]:
    """Return the words of a command, without comment, variables set before it, and the program's folder."""
    try:
        words = shlex.split(line.replace("…", ""), comments=True)
    except ValueError:  # a quote that a later line closes
        return []
    while words and re.match(r"[A-Z_]+=", words[0]):
        words.pop(0)
    return [words[0].rpartition("/")[2] or words[0], *words[1:]] if words else []
