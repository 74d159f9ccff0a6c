"""Images of discs and rectangles that hide each other, "dead leaves": statistics of photographs without photographs.

The model is Matheron's; radii whose density falls with their cube give it the scale invariance of natural images
(Lee, Mumford and Huang, "Occlusion models for natural images", IJCV 2001).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

import srkit

VERSION = 1  # of the drawing: with any change of pixels it grows, and with it the fingerprint changes
DRAWS = 10  # uniform draws a shape
LARGEST = 0.35  # largest radius, as a share of the image's side
DISCS = 0.4  # share of the shapes that are discs
THINNEST = 0.1  # a rectangle's smaller side over its larger one, at least
SHARPEST = 0.7  # width of the sharpest edge, in pixels
MOST = 100_000  # images: more differ in nothing that a network learns, and each is drawn anew wherever it is read
LARGEST_SIDE = 4_096  # pixels: an image of it takes a minute and a gibibyte to draw
CHROMA = 60.0  # how far red and blue may be from green, in levels: real colours lie near the grey axis


class Leaves:
    """Drawn images, uint8 [size, size, 3]: each depends on the seed and its index alone, and none is ever stored.

    Only additions, multiplications, divisions and square roots make them, so that they are the same everywhere.

    Args:
        count: how many images there are, up to 100,000.
        size: height and width in pixels, from 16 to 4,096.
        seed: another seed gives other images; 0 or more.
        smallest: radius of the smallest shapes in pixels, from 0.5 to a quarter of the size.
        blur: width of the softest edges in pixels, from 0.7, the sharpest ones' width, to 16.
    """

    def __init__(
        self, *, count: int = 24, size: int = 256, seed: int = 0, smallest: float = 2.0, blur: float = 3.0
    ) -> None:
        if not 1 <= count <= MOST:
            raise ValueError(f"count must be from 1 to {MOST:,}, not {count:,}")
        if not 16 <= size <= LARGEST_SIDE:
            raise ValueError(f"size must be from 16 to {LARGEST_SIDE:,} pixels, not {size:,}")
        if not 0 <= seed < 2**63:
            raise ValueError(f"seed must be at least 0 and below 2**63, not {seed}")
        if not 0.5 <= smallest <= size / 4:
            raise ValueError(f"smallest must be between 0.5 and {size / 4:g}, a quarter of the size, not {smallest:g}")
        if not SHARPEST <= blur <= 16:
            raise ValueError(f"blur must be between {SHARPEST:g} and 16, not {blur:g}")
        self.count = count
        self.side = size
        self.seed = seed
        self.smallest = float(smallest)
        self.blur = float(blur)

    def __len__(self) -> int:
        """Return the number of images, the setting `count`."""
        return self.count

    def name(self, index: int) -> str:
        """Return "leaves_00003" for image 3."""
        return f"leaves_{index:05d}"

    def size(self, index: int) -> tuple[int, int]:
        """Return (height, width) in pixels, the same for every image."""
        return self.side, self.side

    def read(self, index: int, window: srkit.Window | None = None) -> NDArray[np.uint8]:
        """Draw an image or a window of it, uint8 [height, width, 3], RGB.

        Raises IndexError where there is no such image, ValueError where the window is empty or not inside it.
        """
        if not 0 <= index < self.count:
            raise IndexError(f"leaves has images 0 to {self.count - 1}, not {index}")
        top, left, height, width = window or (0, 0, self.side, self.side)
        if not (0 <= top < top + height <= self.side and 0 <= left < left + width <= self.side):
            raise ValueError(
                f"the window {height}x{width} at row {top}, column {left} is not inside {self.name(index)}, "
                f"which is {self.side}x{self.side}"
            )
        return _draw(self._shapes(index), top, left, height, width)

    def lr(self, scale: int) -> None:
        """Return None: there is HR alone."""

    def fingerprint(self) -> str:
        """Return the version of the drawing with all settings: they are all that the pixels depend on."""
        return f"leaves-{VERSION}:{self.count}:{self.side}:{self.seed}:{self.smallest!r}:{self.blur!r}"

    def _shapes(self, index: int) -> NDArray[np.float64]:
        """Return the image's shapes from back to front, [shapes, 11], a row each as `_draw` takes it apart."""
        # The areas of so many shapes add up to about three times the image's, so that little of the ground is left.
        shapes = max(1, int(self.side * self.side / (8 * self.smallest * self.smallest)))
        key = np.array([self.seed, index], np.uint64)
        words = np.random.Philox(key=key).random_raw(DRAWS * shapes).reshape(DRAWS, shapes)
        u = (words >> np.uint64(11)) * 2.0**-53

        ratio = self.smallest / (LARGEST * self.side)
        radius = self.smallest / np.sqrt(1 - u[0] * (1 - ratio * ratio))  # density as radius**-3
        is_disc = u[1] < DISCS
        stretch = np.sqrt(np.where(is_disc, 1.0, THINNEST + (1 - THINNEST) * u[2]))
        t = 2 * u[3] - 1  # the tangent of half the angle, which spares a sine and a cosine
        y, x = (u[4:6] * (self.side + 2 * radius)) - radius
        green = 255 * u[6]
        red, blue = np.clip(green + CHROMA * (2 * u[7:9] - 1), 0, 255)
        edge = SHARPEST + (self.blur - SHARPEST) * u[9]
        return np.stack(
            [
                y,
                x,
                radius / stretch,
                radius * stretch,
                (1 - t * t) / (1 + t * t),
                2 * t / (1 + t * t),
                edge,
                is_disc,
                red,
                green,
                blue,
            ],
            axis=1,
        )


def _draw(shapes: NDArray[np.float64], top: int, left: int, height: int, width: int) -> NDArray[np.uint8]:
    """Draw the shapes one over the other on the first one's colour; return the window, uint8 [height, width, 3]."""
    y, x, a, b, cosine, sine, edge, is_disc = shapes[:, :8].T
    far_a, far_b = a + edge / 2, b + edge / 2
    reach_y = np.where(is_disc, far_a, far_a * abs(sine) + far_b * abs(cosine))
    reach_x = np.where(is_disc, far_a, far_a * abs(cosine) + far_b * abs(sine))
    y0 = np.clip(np.floor(y - reach_y) - top, 0, height).astype(int)
    y1 = np.clip(np.ceil(y + reach_y) - top + 1, 0, height).astype(int)
    x0 = np.clip(np.floor(x - reach_x) - left, 0, width).astype(int)
    x1 = np.clip(np.ceil(x + reach_x) - left + 1, 0, width).astype(int)
    seen = np.flatnonzero((y0 < y1) & (x0 < x1))
    boxes = np.stack([y0, y1, x0, x1], axis=1)[seen].tolist()
    colours = shapes[:, 8:, None, None].astype(np.float32)

    rows = np.arange(top, top + height, dtype=np.float32)[:, None]
    columns = np.arange(left, left + width, dtype=np.float32)
    image = np.empty((3, height, width), np.float32)
    image[:] = colours[0]
    for (y0_, y1_, x0_, x1_), shape, colour in zip(boxes, shapes[seen, :8].tolist(), colours[seen], strict=True):
        y_, x_, a_, b_, cosine_, sine_, edge_, is_disc_ = shape
        dy, dx = rows[y0_:y1_] - y_, columns[x0_:x1_] - x_
        if is_disc_:
            inside = a_ - np.sqrt(dx * dx + dy * dy)
        else:
            inside = np.minimum(a_ - abs(dx * cosine_ + dy * sine_), b_ - abs(dy * cosine_ - dx * sine_))
        opacity = np.clip(inside / edge_ + 0.5, 0, 1)
        box = image[:, y0_:y1_, x0_:x1_]
        box += opacity * (colour - box)
    return np.ascontiguousarray((image + 0.5).astype(np.uint8).transpose(1, 2, 0))
