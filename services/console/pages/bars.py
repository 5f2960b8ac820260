"""Small charts: the geometry of bars, which templates draw as SVG."""

from collections.abc import Sequence
from dataclasses import dataclass

#: Size of the drawing in its own units.
WIDTH, HEIGHT = 300, 90


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar: where it stands, how high it is, and its value."""

    x: float
    y: float
    width: float
    height: float
    value: int


def bars_of(values: Sequence[int]) -> list[Bar]:
    """Bars beside each other; the highest fills the drawing, and whatever is not 0 is seen."""
    step = WIDTH / max(len(values), 1)
    top = max([*values, 1])
    heights = [max(HEIGHT * value / top, 2 if value else 0) for value in values]
    return [
        Bar(round(step * at + 1, 1), round(HEIGHT - height, 1), round(step - 2, 1), round(height, 1), value)
        for at, (height, value) in enumerate(zip(heights, values, strict=True))
    ]
