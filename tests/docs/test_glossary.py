"""docs/glossary.md: the words in their order, each with the place where it matters."""

import pytest

from tests.docs.markdown import Page

PAGE = Page.read("docs/glossary.md")
PARTS = ("The vendor's", "Ours")


@pytest.mark.parametrize("part", PARTS)
def test_words_are_in_order_and_lead_on(part: str) -> None:
    """Each word is found by the alphabet, says what it means, and links a page."""
    rows = PAGE.section(part).rows()
    words = [word for word, _ in rows]

    assert words == sorted(words, key=str.casefold)
    assert [word for word, meaning in rows if "](" not in meaning] == []


def test_the_words_of_the_readme_are_there() -> None:
    """The short glossary of the README has no word that the long one has not."""
    words = {word for part in PARTS for word, _ in PAGE.section(part).rows()}
    of_the_readme = [
        word for cell, _ in Page.read("README.md").section("Glossary").rows() for word in cell.split(", ")
    ]

    assert [word for word in of_the_readme if word not in words] == []
