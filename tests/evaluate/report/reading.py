"""Read an HTML page as a browser without scripts would."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from lxml import html


@dataclass(frozen=True)
class Page:
    source: str

    @cached_property
    def root(self) -> Any:
        return html.fromstring(self.source)

    @cached_property
    def ids(self) -> list[str]:
        return [str(one) for one in self.root.xpath("//@id")]

    def part(self, id_: str) -> Any:
        (found,) = self.root.xpath("//*[@id=$id]", id=id_)
        return found

    def links(self, part: Any = None) -> list[tuple[str, str]]:
        """Return the text and the target of each link."""
        root = self.root if part is None else part
        return [(" ".join(one.text_content().split()), one.get("href")) for one in root.xpath(".//a[@href]")]

    def follow(self, href: str) -> Any:
        assert href.startswith("#"), href
        return self.part(href[1:])

    def text(self, part: Any = None) -> str:
        return " ".join((self.root if part is None else part).text_content().split())

    @property
    def sections(self) -> list[str]:
        return [str(one) for one in self.root.xpath("//main/section/@id")]

    @property
    def loads(self) -> list[str]:
        """What a browser would fetch: everything but text in the page itself."""
        found = self.root.xpath("//@src | //@srcset | //@data | //@poster | //@action | //@formaction")
        found += self.root.xpath("//link/@href | //image/@href | //use/@href | //*[name()='image']/@*")
        return [str(one) for one in found]
