"""Read YAML 1.2 from outside: plain values only, in bounded time and memory.

An alias (`*name`) stands for a value elsewhere, and aliases of aliases multiply: a few hundred bytes can
stand for more values than fit in memory, or for a value that contains itself. What aliases stand for is
counted while the text is read, and each becomes a copy, so that an edit of one section never changes another.
"""

from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.composer import Composer, ComposerError
from ruamel.yaml.error import YAMLError
from ruamel.yaml.events import AliasEvent

from baton.errors import ParamsError, visible

MOST_CHARACTERS = 2**22
MOST_VALUES = 100_000
DEPTH = 50
# What ruamel.yaml raises for a number of too many digits, a date that there is not, and the like.
MALFORMED = (YAMLError, ValueError, TypeError, AttributeError, LookupError, ArithmeticError, RecursionError)


class _Bounded(Composer):
    def __init__(self, loader: Any = None) -> None:
        super().__init__(loader)
        self.count, self.sizes = 0, dict[str, int]()  # values so far; of what each anchor names

    def compose_node(self, parent: Any, index: Any) -> Any:
        """Compose a node as ruamel.yaml does, and count the values that it stands for."""
        event, before = self.parser.peek_event(), self.count
        if isinstance(event, AliasEvent) and event.anchor in self.anchors:
            if event.anchor not in self.sizes:
                raise ComposerError(None, None, f"*{event.anchor} contains itself", event.start_mark)
            self.count += self.sizes[event.anchor]
        self.count += 1
        if self.count > MOST_VALUES:
            what = f"the file stands for more than {MOST_VALUES:,} values, aliases (*name) included"
            raise ComposerError(None, None, what, event.start_mark)
        node = super().compose_node(parent, index)
        if not isinstance(event, AliasEvent) and event.anchor is not None:
            self.sizes[event.anchor] = self.count - before
        return node


def reader(*, round_trip: bool = False) -> YAML:
    """Return a reader with these bounds; with `round_trip`, also a writer that keeps comments."""
    yaml = YAML() if round_trip else YAML(typ="safe", pure=True)
    yaml.Composer, yaml.max_depth = _Bounded, DEPTH
    return yaml


def parse(text: str, where: str) -> Any:
    """Return the content of a YAML text; `where` names it in errors.

    Raises:
        ParamsError: it is not valid YAML, is too long or too deep, or stands for too many values.
    """
    if len(text) > MOST_CHARACTERS:
        raise ParamsError(
            f"{where} is too long",
            got=f"{len(text):,} characters",
            expected=f"at most {MOST_CHARACTERS:,}",
            hint="put data into files of its own",
        )
    try:
        return _copied(reader().load(text))
    except MALFORMED as error:
        place = visible(" ".join(str(error).split()))
        raise ParamsError(
            f"{where} is not valid YAML",
            got=place or type(error).__name__,
            expected="YAML 1.2",
            hint="fix the line named above",
        ) from None


def _copied(value: Any) -> Any:
    match value:
        case dict():
            return {key: _copied(inner) for key, inner in value.items()}
        case list():
            return [_copied(inner) for inner in value]
        case _:
            return value
