"""Draws what has ended lately as bars, in SVG that no script and no style sheet of others is needed for."""

from collections.abc import Sequence
from dataclasses import dataclass

from service.gateways.store.overview import Bucket

WIDTH, HEIGHT = 600, 100
_GAP = 0.22


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One bar of a chart, in its coordinates; y is from the top."""

    x: float
    y: float
    width: float
    height: float
    is_good: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """Bars from the oldest part on the left to now on the right."""

    bars: tuple[Bar, ...]
    #: What the highest bar stands for.
    highest: int
    released: int
    failed: int


def draw(buckets: Sequence[Bucket]) -> Chart:
    """Draw what was released, and on top of it what failed."""
    highest = max((one.released + one.failed for one in buckets), default=0)
    step = WIDTH / max(len(buckets), 1)
    return Chart(
        bars=tuple(bar for one in buckets for bar in _bars_of(one, highest, step)),
        highest=highest,
        released=sum(one.released for one in buckets),
        failed=sum(one.failed for one in buckets),
    )


def _bars_of(bucket: Bucket, highest: int, step: float) -> list[Bar]:
    scale = HEIGHT / highest if highest else 0
    x = round(WIDTH - (bucket.parts_ago + 1 - _GAP / 2) * step, 2)
    good, bad = bucket.released * scale, bucket.failed * scale
    sizes = ((HEIGHT - good, good, True), (HEIGHT - good - bad, bad, False))
    return [
        Bar(x=x, y=round(y, 2), width=round(step * (1 - _GAP), 2), height=round(height, 2), is_good=is_good)
        for y, height, is_good in sizes
        if height > 0
    ]
