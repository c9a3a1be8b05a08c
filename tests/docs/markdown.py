"""Reads what the tests compare out of Markdown: code blocks, tables, headings, links."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]

#: What stands in a cell where there is nothing.
NONE = "\u2013"
_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_CELL_END = re.compile(r"(?<!\\)\|")


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A fenced block of code."""

    language: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One Markdown file."""

    path: Path
    text: str

    @classmethod
    def read(cls, name: str) -> "Page":
        """Read a page by its path in the repository."""
        path = REPOSITORY / name
        return cls(path=path, text=path.read_text(encoding="utf-8"))

    @property
    def blocks(self) -> list[Block]:
        """All code blocks, in order."""
        return [Block(language=match[1], text=match[2]) for match in _BLOCK.finditer(self.text)]

    def blocks_of(self, language: str) -> list[str]:
        """The texts of the code blocks of a language, in order."""
        return [block.text for block in self.blocks if block.language == language]

    @property
    def anchors(self) -> set[str]:
        """The names under which links reach the headings of the page."""
        prose = _BLOCK.sub("", self.text)
        return {slug_of(match[1]) for match in _HEADING.finditer(prose)}

    @property
    def links(self) -> list[str]:
        """The targets of all links outside code blocks."""
        return _LINK.findall(_BLOCK.sub("", self.text))

    def section(self, heading: str) -> "Page":
        """The part under a heading, up to the next one of any level."""
        start = self.text.index(f"# {heading}\n") + len(heading) + 3
        end = re.search(r"^#+ ", self.text[start:], re.MULTILINE)
        return Page(path=self.path, text=self.text[start : start + end.start() if end else len(self.text)])

    def rows(self) -> list[tuple[str, ...]]:
        """The rows of the page's tables without their heads; code marks are taken off cells that are all code."""
        return [row for table in self.tables() for row in table]

    def tables(self) -> Iterator[list[tuple[str, ...]]]:
        """The tables of the page, each with its rows without the head."""
        for match in re.finditer(r"^\|.*\n\|[-| ]+\|\n((?:\|.*\n?)*)", self.text, re.MULTILINE):
            yield [cells_of(line) for line in match[1].splitlines()]


def cells_of(line: str) -> tuple[str, ...]:
    """Split a row of a table into its cells."""
    cells = [cell.strip() for cell in _CELL_END.split(line.strip().strip("|"))]
    return tuple(cell[1:-1] if re.fullmatch(r"`[^`]+`", cell) else cell for cell in cells)


def slug_of(heading: str) -> str:
    """Turn a heading into the name of its anchor, as code hosts do."""
    plain = re.sub(r"[^\w\- ]", "", heading.lower().replace("`", ""))
    return plain.replace(" ", "-")


def all_pages() -> list[str]:
    """The paths of all Markdown files of ours."""
    found = [*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").rglob("*.md")]
    return sorted(str(path.relative_to(REPOSITORY)) for path in found)
