"""The pictures of docs/diagrams: what a request, an item and a batch go through, and the flow of the service."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tests.docs.drawing import Arrow, Box, Drawing, Side

LEFT, RIGHT, TOP, BOTTOM = Side.LEFT, Side.RIGHT, Side.TOP, Side.BOTTOM
TONES = {
    "released": "good",
    "partly_released": "good",
    "rejected": "bad",
    "failed": "bad",
    "in_doubt": "wary",
    "needs_attention": "wary",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One way from a state to another. ``is_noted``: said in the box where it begins, without an arrow."""

    start: str
    end: str
    when: str
    is_noted: bool = False


def steps_of(*lines: str) -> tuple[Step, ...]:
    """Read steps from lines such as ``sealed > sending: claimed``; ``>>`` is one that is only noted."""
    found = []
    for line in lines:
        way, _, when = line.partition(": ")
        start, sign, end = way.split()
        found.append(Step(start=start, end=end, when=when, is_noted=sign == ">>"))
    return tuple(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class StateDiagram:
    """States at their places, and the steps between them."""

    title: str
    height: int
    #: Live states below each other on the left, one or none between, ended ones on the right; each with its top.
    live: Mapping[str, int]
    ended: Mapping[str, int]
    between: Mapping[str, int]
    #: Where it begins, with a word about it.
    begins: Mapping[str, str]
    steps: Sequence[Step]

    @property
    def states(self) -> set[str]:
        """All that is drawn."""
        return {*self.live, *self.between, *self.ended}

    def drawing(self) -> Drawing:
        """Place boxes and arrows."""
        columns = ((self.live, 70, 124), (self.between, 236, 88), (self.ended, 384, 126))
        boxes = {
            state: Box(x=x, y=y, width=width, text=state, note=self._note(state), tone=TONES.get(state, ""))
            for places, x, width in columns
            for state, y in places.items()
        }
        arrows = [self._arrow(step) for step in self.steps if not step.is_noted]
        return Drawing(title=self.title, width=520, height=self.height, boxes=boxes, arrows=arrows)

    def _note(self, state: str) -> str:
        noted = (f"{step.when} → {step.end}" for step in self.steps if step.is_noted and step.start == state)
        return next(noted, self.begins.get(state, ""))

    def _arrow(self, step: Step) -> Arrow:
        out, into = self._sides(step)
        return Arrow(start=step.start, out=out, end=step.end, into=into, tone=TONES.get(step.end, ""))

    def _sides(self, step: Step) -> tuple[Side, Side]:
        order = list(self.live)
        if step.end in self.between:
            return RIGHT, LEFT if order.index(step.start) < len(order) // 2 else BOTTOM
        if step.end not in order:
            return RIGHT, LEFT
        follows = order.index(step.end) - order.index(step.start) == 1
        return (BOTTOM, TOP) if follows else (LEFT, LEFT)


_OF_ITEMS = (
    "batched > releasing: the next attempt",
    "releasing > in_doubt: the outcome of the call is not known",
    "releasing > released: the vendor made the package",
    "releasing > rejected: the vendor said no",
    "releasing > failed: the attempts are used up",
    "batched > rejected: explained by the vendor's list",
    "in_doubt > released: found in the vendor's lists",
    "in_doubt > batched: proved absent",
    "in_doubt > rejected: proved absent, after a no",
    "in_doubt > failed: proved absent, attempts used up",
    "in_doubt > needs_attention: not decided in time, or park",
    "needs_attention > released: by an operator, who names the package",
    "needs_attention > batched: by an operator, to be sent once more",
    "needs_attention > rejected: by an operator",
    "releasing > batched: to be tried again",
)

REQUEST = StateDiagram(
    title="The states of a release request and the ways between them",
    height=410,
    live={"accepted": 18, "releasing": 114, "batched": 194, "in_doubt": 274, "needs_attention": 354},
    between={},
    begins={"accepted": "begins here"},
    ended={
        "cancelled": 20,
        "expired": 72,
        "released": 134,
        "partly_released": 192,
        "rejected": 252,
        "failed": 324,
    },
    steps=steps_of(
        "accepted > releasing: sealed into a batch, the call follows",
        "accepted > expired: the deadline passed",
        "accepted > cancelled: on somebody's word",
        *_OF_ITEMS,
        "releasing > partly_released: the others are not released",
        "in_doubt > partly_released: the others are not released",
        "needs_attention > partly_released: the others are not released",
        "rejected >> accepted: retry",
        "failed >> accepted: retry",
    ),
)

ITEM = StateDiagram(
    title="The states of an item and the ways between them",
    height=410,
    live={"waiting": 18, "releasing": 114, "batched": 194, "in_doubt": 274, "needs_attention": 354},
    between={},
    begins={"waiting": "begins here"},
    ended={"cancelled": 20, "expired": 78, "released": 146, "rejected": 226, "failed": 310},
    steps=steps_of(
        "waiting > releasing: sealed into a batch, the call follows",
        "waiting > expired: the deadline passed",
        "waiting > cancelled: on somebody's word",
        *_OF_ITEMS,
        "rejected >> waiting: retry",
        "failed >> waiting: retry",
    ),
)

BATCH = StateDiagram(
    title="The states of a batch and the ways between them",
    height=364,
    live={"sealed": 20, "sending": 124, "in_doubt": 228, "needs_attention": 312},
    between={"refused": 62},
    begins={"sending": "begins here", "sealed": "parts begin here"},
    ended={"split": 34, "rejected": 118, "released": 200, "failed": 282},
    steps=steps_of(
        "sealed > sending: claimed: epoch + 1, a new lease, an attempt",
        "sending > sealed: throttled, or certainly not executed",
        "sending > released: 2xx with an id",
        "sending > rejected: a definite no",
        "sending > refused: a no that one of several items may have caused",
        "sending > failed: the attempts are used up",
        "sending > in_doubt: timeout, reset, 5xx, unreadable answer, or the lease ran out; a no after a doubt",
        "refused > split: parted into sealed batches",
        "refused > rejected: the list explains every item",
        "in_doubt > released: found in the vendor's lists",
        "in_doubt > sealed: proved absent",
        "in_doubt > rejected: a no, and proved absent",
        "in_doubt > refused: the same, with several items",
        "in_doubt > failed: proved absent, attempts used up",
        "in_doubt > needs_attention: not decided in time, or park",
        "needs_attention > released: by an operator, who names the package",
        "needs_attention > sealed: by an operator, to be sent once more",
        "needs_attention > rejected: by an operator",
    ),
)

FLOW = Drawing(
    title="The steps of the service, and what goes between them",
    width=520,
    height=510,
    boxes={
        "callers": Box(x=40, y=16, width=130, text="callers"),
        "producers": Box(x=350, y=16, width=130, text="producers"),
        "status": Box(x=20, y=116, width=80, text="status", tone="ours"),
        "accept": Box(x=200, y=116, width=120, text="accept", tone="ours"),
        "postgres": Box(x=20, y=216, width=130, text="PostgreSQL", note="the truth"),
        "sweep": Box(x=194, y=224, width=86, text="sweep", tone="ours"),
        "redis": Box(x=370, y=216, width=130, text="Redis", note="doorbells, limiter"),
        "batch": Box(x=200, y=324, width=120, text="batch", tone="ours"),
        "release": Box(x=200, y=392, width=120, text="release", tone="ours"),
        "vendor": Box(x=370, y=392, width=130, text="vendor"),
        "settle": Box(x=200, y=460, width=120, text="settle", tone="ours"),
    },
    arrows=(
        Arrow(start="callers", out=BOTTOM, end="accept", into=TOP, label="HTTP"),
        Arrow(start="producers", out=BOTTOM, end="accept", into=TOP, label="arq job"),
        Arrow(start="accept", out=LEFT, end="postgres", into=TOP, label="commit"),
        Arrow(start="accept", out=RIGHT, end="redis", into=TOP, label="ring"),
        Arrow(start="postgres", out=TOP, end="status", into=BOTTOM),
        Arrow(start="status", out=TOP, end="callers", into=BOTTOM),
        Arrow(start="postgres", out=RIGHT, end="sweep", into=LEFT),
        Arrow(start="sweep", out=RIGHT, end="redis", into=LEFT, label="lost bells"),
        Arrow(start="redis", out=BOTTOM, end="batch", into=TOP, label="doorbell"),
        Arrow(start="batch", out=RIGHT, end="redis", into=BOTTOM, label="permit"),
        Arrow(start="settle", out=LEFT, end="postgres", into=BOTTOM, label="outcome"),
        Arrow(start="batch", out=LEFT, end="postgres", into=BOTTOM, label="seal, attempt"),
        Arrow(start="batch", out=BOTTOM, end="release", into=TOP),
        Arrow(start="release", out=RIGHT, end="vendor", into=LEFT, label="call"),
        Arrow(start="release", out=BOTTOM, end="settle", into=TOP),
    ),
)

STATE_DIAGRAMS = {"request": REQUEST, "item": ITEM, "batch": BATCH}
DRAWINGS = {"flow": FLOW} | {name: diagram.drawing() for name, diagram in STATE_DIAGRAMS.items()}
