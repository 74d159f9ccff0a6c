"""Distortions, each given what it declares."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from typing import Any

import srkit
from srkit_degradations.canvas import State, alone, extended

_WORDS = ("sizes", "size")


class Step:
    """A distortion, called with a state."""

    def __init__(self, distortion: Any) -> None:
        self.distortion = distortion
        try:
            names = inspect.signature(distortion).parameters
        except ValueError:  # of C: it declares nothing
            names = {}  # type: ignore[assignment]
        self._words = [word for word in _WORDS if word in names]

    def __call__(self, state: State, draws: srkit.Draws, size: tuple[int, int] | None) -> State:
        """Return what becomes of a state; `size` is LR's. Raises ValueError where sizes are lost."""
        images, sizes = state
        words = {"sizes": sizes, "size": size}
        made = self.distortion(images, draws, **{word: words[word] for word in self._words})
        if isinstance(made, tuple):
            after, sizes = made
        else:
            after = made
            if sizes is not None and after.shape != images.shape:
                name, was, now = type(self.distortion).__name__, list(images.shape), list(after.shape)
                raise ValueError(f"{name} makes {now} of {was}, on which several sizes lie, and returns no sizes")
        if sizes is not None and alone(after):
            height, width = sizes[0].tolist()
            return after[..., :height, :width], None
        return extended(after, sizes), sizes

    def describe(self, draws: srkit.Draws, n: int) -> list[str]:
        """Return what is drawn for each of n samples, in words."""
        own = getattr(self.distortion, "describe", None)
        return [""] * n if own is None else own(draws)


def streams(draws: srkit.Draws, steps: Sequence[Step]) -> Iterator[tuple[Step, srkit.Draws]]:
    """Yield each step with a stream for it alone: that of its name, so that other steps change nothing of its draws."""
    seen: dict[str, int] = {}
    for step in steps:
        name = type(step.distortion).__name__
        seen[name] = seen.get(name, 0) + 1
        yield step, draws.of(f"{name}{seen[name]}")
