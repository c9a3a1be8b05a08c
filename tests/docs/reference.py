"""Writes what the docs take from the code: ``make reference``. A test compares, so that nobody forgets it.

In a page such a part stands between ``<!-- make reference: NAME -->`` and ``<!-- end -->``.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tests.docs.command_options import options_page
from tests.docs.diagrams import DRAWINGS, STATE_DIAGRAMS, StateDiagram
from tests.docs.http_parameters import parameters_page
from tests.docs.log_events import log_events_table
from tests.docs.markdown import REPOSITORY
from tests.docs.settings_table import settings_table

DOCS = REPOSITORY / "docs"
_PART = re.compile(r"(<!-- make reference: (.+?) -->\n)(.*?)(<!-- end -->)", re.DOTALL)


def ways(diagram: StateDiagram) -> str:
    """Return the table of the steps of a diagram."""
    return table(("from", "to", "when"), [(f"`{s.start}`", f"`{s.end}`", s.when) for s in diagram.steps])


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return (
        "".join(f"| {' | '.join(cells)} |\n" for cells in lines)
        .replace("| --- ", "|---")
        .replace("--- |", "---|")
    )


PAGES = ("states.md", "configuration.md", "events.md")
#: The parts of pages, by name; each is given what stands there now.
PARTS: Mapping[str, Callable[[str], str]] = {
    "ways of a request": lambda _: ways(STATE_DIAGRAMS["request"]),
    "ways of an item": lambda _: ways(STATE_DIAGRAMS["item"]),
    "ways of a batch": lambda _: ways(STATE_DIAGRAMS["batch"]),
    "settings": settings_table,
    "log events": log_events_table,
}


def generated() -> dict[Path, str]:
    """Return the files that are made wholly or in part, as they have to be."""
    pictures = {DOCS / "diagrams" / f"{name}.svg": drawing.svg() for name, drawing in DRAWINGS.items()}
    pages = {DOCS / name: with_parts((DOCS / name).read_text("utf-8")) for name in PAGES}
    whole = {"command-options.md": options_page(), "http-parameters.md": parameters_page()}
    return {**pictures, **pages, **{DOCS / name: text for name, text in whole.items()}}


def with_parts(text: str) -> str:
    """Return a page with its parts made anew."""
    return _PART.sub(lambda found: f"{found[1]}\n{PARTS[found[2]](found[3])}\n{found[4]}", text)


def main() -> None:
    """Write them."""
    for path, text in generated().items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
