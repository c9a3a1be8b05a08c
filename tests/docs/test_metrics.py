"""docs/metrics.md lists the catalogue of figures as it is."""

import pytest

from service.core.figures import OF_THE_PROCESS, OF_THE_WHOLE, Figure
from tests.docs.markdown import NONE, Page


@pytest.mark.parametrize(
    ("heading", "catalogue"), [("Of the process", OF_THE_PROCESS), ("Of the whole", OF_THE_WHOLE)]
)
def test_every_figure_is_in_its_table(heading: str, catalogue: tuple[Figure, ...]) -> None:
    """The tables have each name with its kind, labels and meaning, in the order of the catalogue, and no other."""
    text = Page.read("docs/metrics.md").section(heading).text
    rows = [line for line in text.splitlines() if line.startswith("| `release_")]

    assert rows == [row_of(figure) for figure in catalogue]


def row_of(figure: Figure) -> str:
    labels = ", ".join(f"`{label}`" for label in figure.labels) or NONE
    return f"| `{figure.name}` | {figure.kind.value} | {labels} | {figure.meaning} |"
