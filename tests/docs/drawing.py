"""Draws boxes and arrows as SVG that is read in light and dark, and needs nothing but itself."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from xml.sax.saxutils import escape

BOX_HEIGHT = 36
ROUND = 8
#: How far a curve runs straight out of a box, as a share of the way, and at least.
_SHARE, _LEAST = 0.45, 14
_HEAD = 7
_LINE = 15

#: The picture has a ground of its own, so it is read whatever page it is on.
STYLE = """
.ground{fill:#fff}text{font:13px system-ui,sans-serif;fill:#1f2328;text-anchor:middle}
.small{font-size:11px;fill:#59636e}.halo{stroke:#fff;stroke-width:4;paint-order:stroke;stroke-linejoin:round}
.box{fill:#f6f8fa;stroke:#818b98;stroke-width:1.5}.line{fill:none;stroke:#818b98;stroke-width:1.5}.head{fill:#818b98}
.good .box{fill:#dafbe1;stroke:#1a7f37}.good.line{stroke:#1a7f37}.good.head{fill:#1a7f37}
.bad .box{fill:#ffebe9;stroke:#cf222e}.bad.line{stroke:#cf222e}.bad.head{fill:#cf222e}
.wary .box{fill:#fff8c5;stroke:#9a6700}.wary.line{stroke:#9a6700}.wary.head{fill:#9a6700}
.ours .box{fill:#ddf4ff;stroke:#0969da}.ours.line{stroke:#0969da}.ours.head{fill:#0969da}
@media(prefers-color-scheme:dark){
.ground{fill:#151b23}text{fill:#f0f6fc}.small{fill:#b7bdc8}.halo{stroke:#151b23}
.box{fill:#212830;stroke:#9198a1}.line{stroke:#9198a1}.head{fill:#9198a1}
.good .box{fill:#12361f;stroke:#3fb950}.good.line{stroke:#3fb950}.good.head{fill:#3fb950}
.bad .box{fill:#3d1b1b;stroke:#f85149}.bad.line{stroke:#f85149}.bad.head{fill:#f85149}
.wary .box{fill:#3a2d0b;stroke:#d29922}.wary.line{stroke:#d29922}.wary.head{fill:#d29922}
.ours .box{fill:#12284a;stroke:#4493f8}.ours.line{stroke:#4493f8}.ours.head{fill:#4493f8}}
"""


class Side(Enum):
    """A side of a box, with the direction that points out of it."""

    LEFT = (-1, 0)
    RIGHT = (1, 0)
    TOP = (0, -1)
    BOTTOM = (0, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """A box with one line in it, and perhaps a smaller one."""

    x: int
    y: int
    width: int
    text: str
    note: str = ""
    tone: str = ""

    @property
    def height(self) -> int:
        """As high as its lines need."""
        return BOX_HEIGHT + (_LINE if self.note else 0)

    def port(self, side: Side, share: float) -> tuple[float, float]:
        """Return a point of a side, by the share of the side that lies before it."""
        across, down = side.value
        if across:
            return self.x + (self.width if across > 0 else 0), self.y + self.height * share
        return self.x + self.width * share, self.y + (self.height if down > 0 else 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrow:
    """An arrow from a side of a box to a side of another."""

    start: str
    out: Side
    end: str
    into: Side
    label: str = ""
    tone: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing:
    """Boxes by their names, and the arrows between them."""

    title: str
    width: int
    height: int
    boxes: Mapping[str, Box]
    arrows: Sequence[Arrow]

    def svg(self) -> str:
        """Return it as a file."""
        size = f'viewBox="0 0 {self.width} {self.height}" width="{self.width}" height="{self.height}"'
        ports = self._ports()
        lines = [
            f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-label="{escape(self.title)}">',
            f"<style>{STYLE}</style>",
            f'<rect class="ground" width="{self.width}" height="{self.height}" rx="{ROUND}"/>',
            *(_box(box) for box in self.boxes.values()),
            *(_curve(arrow, ports[at, 0], ports[at, 1]) for at, arrow in enumerate(self.arrows)),
            *(
                _label(arrow, ports[at, 0], ports[at, 1])
                for at, arrow in enumerate(self.arrows)
                if arrow.label
            ),
            "</svg>",
        ]
        return "\n".join(lines) + "\n"

    def _ports(self) -> dict[tuple[int, int], tuple[float, float]]:
        """Place the ends of arrows along the sides of boxes, so that neighbours do not cross."""
        ends: dict[tuple[str, Side], list[tuple[int, int]]] = defaultdict(list)
        for at, arrow in enumerate(self.arrows):
            ends[arrow.start, arrow.out].append((at, 0))
            ends[arrow.end, arrow.into].append((at, 1))
        return {
            end: self.boxes[name].port(side, (place + 1) / (len(those) + 1))
            for (name, side), those in ends.items()
            for place, end in enumerate(sorted(those, key=lambda end: self._far_end(end, side)))
        }

    def _far_end(self, end: tuple[int, int], side: Side) -> tuple[bool, float]:
        arrow = self.arrows[end[0]]
        own, far = arrow.start, arrow.end
        if end[1]:
            own, far = far, own
        if side in (Side.TOP, Side.BOTTOM):
            return False, self.boxes[far].x + self.boxes[far].width / 2
        middle = self.boxes[far].y + self.boxes[far].height / 2
        # Of arcs on one side the longer ones lie around the shorter ones.
        return (middle > self.boxes[own].y, -middle) if arrow.out is arrow.into else (False, middle)


def _box(box: Box) -> str:
    middle = box.x + box.width / 2
    note = (
        f'<text class="small" x="{middle:g}" y="{box.y + 38}">{escape(box.note)}</text>' if box.note else ""
    )
    return (
        f'<g class="{box.tone}"><rect class="box" x="{box.x}" y="{box.y}" width="{box.width}" '
        f'height="{box.height}" rx="{ROUND}"/><text x="{middle:g}" y="{box.y + 23}">{escape(box.text)}</text>{note}</g>'
    )


def _controls(
    arrow: Arrow, start: tuple[float, float], end: tuple[float, float]
) -> Iterable[tuple[float, float]]:
    """Yield the points that draw the curve out of its boxes."""
    far_across, far_down = abs(end[0] - start[0]), abs(end[1] - start[1])
    for (x, y), side in ((start, arrow.out), (end, arrow.into)):
        across, down = side.value
        if arrow.out is arrow.into:
            reach = _LEAST + (far_down if across else far_across) * _SHARE / 2
        else:
            reach = max(_LEAST, (far_across if across else far_down) * _SHARE)
        yield x + across * reach, y + down * reach


def _curve(arrow: Arrow, start: tuple[float, float], end: tuple[float, float]) -> str:
    across, down = arrow.into.value
    base = end[0] + across * _HEAD, end[1] + down * _HEAD
    first, second = _controls(arrow, start, base)
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in (first, second, base))
    half = _HEAD * 0.6
    wings = [(base[0] + down * half * sign, base[1] + across * half * sign) for sign in (1, -1)]
    head = " ".join(f"{x:.1f},{y:.1f}" for x, y in (end, *wings))
    return (
        f'<path class="line {arrow.tone}" d="M{start[0]:.1f},{start[1]:.1f} C{points}"/>'
        f'<polygon class="head {arrow.tone}" points="{head}"/>'
    )


def _label(arrow: Arrow, start: tuple[float, float], end: tuple[float, float]) -> str:
    first, second = _controls(arrow, start, end)
    x, y = ((a + 3 * b + 3 * c + d) / 8 for a, b, c, d in zip(start, first, second, end, strict=True))
    return f'<text class="small halo" x="{x:.1f}" y="{y + 4:.1f}">{escape(arrow.label)}</text>'
