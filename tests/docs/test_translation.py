"""The Chinese README: the same commands and programs as the English one, which are run."""

from tests.docs.markdown import Page


def test_the_chinese_readme_shows_the_same_commands_and_programs() -> None:
    """Every block of code is that of README.md, in the same order; each page leads to the other."""
    english, chinese = Page.read("README.md"), Page.read("README.zh-CN.md")

    assert chinese.blocks == english.blocks
    assert "README.zh-CN.md" in english.links
    assert "README.md" in chinese.links
