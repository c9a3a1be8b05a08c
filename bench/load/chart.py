"""Draws a bar for each target, with its spread, as SVG."""

from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

from bench.load.summary import Spread

WIDTH = 860
LABEL = 300
BAR = 18
STEP = 28
HEAD = 44
RIGHT = 90
STYLE = (
    "text{font:13px sans-serif;fill:#24292f}.title{font-weight:bold}.bar{fill:#8c959f}.ours{fill:#0969da}"
    ".spread{stroke:#24292f;stroke-width:1.5}"
    "@media(prefers-color-scheme:dark){text{fill:#e6edf3}.spread{stroke:#e6edf3}.bar{fill:#6e7681}.ours{fill:#4493f8}}"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One target."""

    label: str
    spread: Spread
    is_ours: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """Bars of one unit."""

    title: str
    bars: Sequence[Bar]


def chart(panels: Sequence[Panel]) -> str:
    """Draw panels below each other."""
    parts: list[str] = []
    top = 0
    for panel in panels:
        parts += _panel(panel, top)
        top += HEAD + STEP * len(panel.bars)
    size = f'viewBox="0 0 {WIDTH} {top + 10}" width="{WIDTH}" height="{top + 10}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">'
    return "\n".join([head, f"<style>{STYLE}</style>", *parts, "</svg>", ""])


def _panel(panel: Panel, top: int) -> list[str]:
    most = max((bar.spread.most for bar in panel.bars), default=1.0)
    lines = [f'<text class="title" x="8" y="{top + 28}">{escape(panel.title)}</text>']
    for number, bar in enumerate(panel.bars):
        lines += _bar(bar, top + HEAD + number * STEP, scale=(WIDTH - LABEL - RIGHT) / most)
    return lines


def _bar(bar: Bar, top: int, *, scale: float) -> list[str]:
    middle = top + BAR / 2
    length, least, most = (scale * each for each in (bar.spread.median, bar.spread.least, bar.spread.most))
    kind = "ours" if bar.is_ours else "bar"
    return [
        f'<text x="{LABEL - 8}" y="{top + 14}" text-anchor="end">{escape(bar.label)}</text>',
        f'<rect class="{kind}" x="{LABEL}" y="{top}" width="{length:.1f}" height="{BAR}"/>',
        f'<line class="spread" x1="{LABEL + least:.1f}" x2="{LABEL + most:.1f}" y1="{middle}" y2="{middle}"/>',
        f'<text x="{LABEL + most + 8:.1f}" y="{top + 14}">{bar.spread.median:,.0f}</text>',
    ]
