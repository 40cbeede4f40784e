"""Takes a Markdown page apart: its fenced blocks, and the comments that belong to its tests."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from textwrap import dedent

_FENCE = re.compile(r"^(?P<indent>\s*)(?P<fence>`{3,}|~{3,})\s*(?P<info>[^`]*)$")
_COMMENT = re.compile(r"^<!-- (?P<kind>run|beside|raises|block)\b(?P<rest>.*)$")
_SHOWN = re.compile(r'-+8<-+ "([^":]+)(?::[\w-]+)?"\n')
_TITLE = re.compile(r'title="([^"]*)"')


@dataclass(frozen=True, slots=True)
class Block:
    """One part of a page.

    Attributes:
        kind: `fenced`, or the first word of a comment: `run`, `beside`, `raises`, `block`.
        language: of a fenced block, or an empty string.
        title: of a fenced block: the file that it stands for.
        is_theirs: it belongs to another system, which is not here.
        text: what stands in it.
        line: where the text begins, counted from 1.
        page: where it stands.
    """

    kind: str
    language: str
    title: str
    is_theirs: bool
    text: str
    line: int
    page: Path

    @property
    def source(self) -> str:
        """The text, with as many lines before it as the page has: tracebacks show the page."""
        return "\n" * (self.line - 1) + self.text

    @property
    def shown(self) -> str:
        """The file that stands there instead, when the text is its name and nothing else."""
        found = _SHOWN.fullmatch(self.text)
        return found[1] if found else ""

    @property
    def where(self) -> str:
        return f"{self.page.name}:{self.line}"


def blocks_of(page: Path) -> list[Block]:
    """Return the parts of a page, in order; other text is left out."""
    return list(_take_apart(page))


def _take_apart(page: Path) -> Iterator[Block]:
    lines = iter(enumerate(page.read_text().splitlines(), 1))
    for number, line in lines:
        if found := _FENCE.match(line):
            inside = []
            for _, inner in lines:
                if inner.strip() == found["fence"]:
                    break
                inside.append(inner)
            else:
                raise AssertionError(f"{page.name}:{number}: the block does not end")
            text = dedent("\n".join(inside)) + "\n"
            yield replace(_fenced(found["info"].strip(), page), text=text, line=number + 1)
        elif found := _COMMENT.match(line):
            yield _comment(found["kind"], found["rest"], number, lines, page)


def _fenced(info: str, page: Path) -> Block:
    title = _TITLE.search(info)
    if info.startswith("{"):
        classes = re.findall(r"(?<=\.)[\w-]+", _TITLE.sub("", info))
    else:
        classes = info.split()[:1]
    return Block(
        kind="fenced",
        language=classes[0] if classes else "",
        title=title[1] if title else "",
        is_theirs="theirs" in classes,
        text="",
        line=0,
        page=page,
    )


def _comment(
    kind: str, rest: str, number: int, lines: Iterator[tuple[int, str]], page: Path
) -> Block:
    inside = [rest.strip()]
    while not inside[-1].endswith("-->"):
        try:
            inside.append(next(lines)[1])
        except StopIteration:
            raise AssertionError(f"{page.name}:{number}: the comment does not end") from None
    inside[-1] = inside[-1].removesuffix("-->").rstrip()
    return Block(kind, "", "", False, "\n".join(inside) + "\n", number, page)


def woven(page: list[Block], frame: list[Block]) -> list[Block]:
    """Put a page's Python blocks where another page says `<!-- block 1 -->`, and so on.

    For a page that is read where comments would be seen. Each block must be named once, in order.
    """
    python = [b for b in page if b.kind == "fenced" and b.language == "python"]
    rest = [b for b in page if b not in python]
    named = [int(b.text) for b in frame if b.kind == "block"]
    assert named == list(range(1, len(python) + 1)), "the frame must name every block, in order"
    return [python[int(b.text) - 1] if b.kind == "block" else b for b in frame] + rest
