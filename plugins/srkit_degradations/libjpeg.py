"""JPEG on tensors, as libjpeg computes it: what a file of 4:2:0 gives back, without the file.

All of it is integers, held in float64, which has room for each sum: so every device has the same bits. Tables and
constants are those of ITU-T T.81 annex K and of libjpeg's jccolor.c, jcsample.c, jfdctint.c, jcdctmgr.c, jidctint.c,
jdsample.c and jdcolor.c.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from srkit_degradations.canvas import extended

LUMA = (
    *(16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55),
    *(14, 13, 16, 24, 40, 57, 69, 56, 14, 17, 22, 29, 51, 87, 80, 62),
    *(18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92),
    *(49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99),
)
CHROMA = (
    *(17, 18, 24, 47, 99, 99, 99, 99, 18, 21, 26, 66, 99, 99, 99, 99),
    *(24, 26, 56, 99, 99, 99, 99, 99, 47, 66, 99, 99, 99, 99, 99, 99),
    *((99,) * 32),
)
_BITS, _PASS = 13, 2  # of the constants of the DCT, and kept between its two passes
_FIX = {name: round(value * 2**_BITS) for name, value in {
    "0_298": 0.298631336, "0_390": 0.390180644, "0_541": 0.541196100, "0_765": 0.765366865, "0_899": 0.899976223,
    "1_175": 1.175875602, "1_501": 1.501321110, "1_847": 1.847759065, "1_961": 1.961570560, "2_053": 2.053119869,
    "2_562": 2.562915447, "3_072": 3.072711026,
}.items()}  # fmt: skip


def decoded(images: Tensor, quality: Tensor, sizes: Tensor | None = None) -> Tensor:
    """Return images [n, 3, h, w], float of 0..1, rounded to 8 bits, written as JPEG of a quality each, int64 [n], and
    read again; float32 of 8 bits.

    With sizes, int64 [n, 2], each image is the top left of its canvas. Images are wider than 4 pixels. No gradient.
    """
    with torch.no_grad():
        rgb = (images.detach().clamp(0, 1) * 255 + 0.5).floor().double()
        height, width = rgb.shape[2:]
        padded = F.pad(extended(rgb, sizes), (0, -width % 16, 0, -height % 2), mode="replicate")
        y, cb, cr = _ycc(padded)
        half = None if sizes is None else (sizes + 1).div(2, rounding_mode="floor")
        colors = torch.stack([_halved(cb), _halved(cr)], 1)
        # Rows below an image repeat its last row of colours; columns beyond it are those of its last pixels.
        rows_only = None if half is None else torch.stack([half[:, 0], torch.full_like(half[:, 0], colors.shape[3])], 1)
        luma = _coded(_filled(y[:, None]), _tables(LUMA, quality))[..., :height, :width]
        colors = _coded(_filled(extended(colors, rows_only)), _tables(CHROMA, quality))
        colors = colors[..., : -(-height // 2), : -(-width // 2)]
        cb, cr = (_doubled(extended(colors, half)))[..., :height, :width].unbind(1)
        return _rgb(luma[:, 0], cb, cr).clamp_(0, 255).div_(255).float()


def _shifted(x: Tensor, bits: int) -> Tensor:
    """Return x / 2**bits, rounded down."""
    return x.mul(2.0**-bits).floor_()


def _ycc(rgb: Tensor) -> tuple[Tensor, ...]:
    r, g, b = rgb.unbind(1)
    fix = {name: round(value * 65536) for name, value in {
        "yr": 0.299, "yg": 0.587, "yb": 0.114, "ur": 0.16874, "ug": 0.33126, "vg": 0.41869, "vb": 0.08131,
    }.items()}  # fmt: skip
    half, middle = 32768, 128 * 65536
    return (
        _shifted(fix["yr"] * r + fix["yg"] * g + fix["yb"] * b + half, 16),
        _shifted(-fix["ur"] * r - fix["ug"] * g + 32768 * b + (middle + half - 1), 16),
        _shifted(32768 * r - fix["vg"] * g - fix["vb"] * b + (middle + half - 1), 16),
    )


def _rgb(y: Tensor, cb: Tensor, cr: Tensor) -> Tensor:
    cb, cr = cb - 128, cr - 128
    half = 32768
    r = y + _shifted(round(1.402 * 65536) * cr + half, 16)
    g = y + _shifted(-round(0.34414 * 65536) * cb - round(0.71414 * 65536) * cr + half, 16)
    b = y + _shifted(round(1.772 * 65536) * cb + half, 16)
    return torch.stack([r, g, b], 1)


def _halved(x: Tensor) -> Tensor:
    """Return [n, h, w] at half its height and width: means of four, which round down and up by turns."""
    total = x[:, ::2, ::2] + x[:, ::2, 1::2] + x[:, 1::2, ::2] + x[:, 1::2, 1::2]
    bias = 1 + torch.arange(total.shape[2], device=x.device) % 2
    return _shifted(total + bias, 2)


def _doubled(x: Tensor) -> Tensor:
    """Return [n, c, h, w] at twice its height and width: the triangle filter, weights 9, 3, 3 and 1."""
    n, c, height, width = x.shape
    framed = F.pad(x, (1, 1, 1, 1), mode="replicate")
    here = 3 * framed[:, :, 1:-1]
    rows = torch.stack([here + framed[:, :, :-2], here + framed[:, :, 2:]], 3).view(n, c, 2 * height, width + 2)
    own = 3 * rows[..., 1:-1]
    left, right = own + rows[..., :-2] + 8, own + rows[..., 2:] + 7
    return _shifted(torch.stack([left, right], 4).view(n, c, 2 * height, 2 * width), 4)


def _filled(x: Tensor) -> Tensor:
    """Return [n, c, h, w] with its edge repeated to whole blocks of 8."""
    return F.pad(x, (0, -x.shape[3] % 8, 0, -x.shape[2] % 8), mode="replicate")


def _coded(x: Tensor, tables: Tensor) -> Tensor:
    """Return planes [n, c, h, w] after DCT, quantisation by tables [n, 8, 8], and back."""
    n, c, height, width = x.shape
    forward, inverse = (torch.from_numpy(matrix).to(x.device) for matrix in _matrices())
    blocks = (x - 128).view(n, c, height // 8, 8, width // 8, 8).transpose(3, 4)
    # Rows, then columns; the first pass keeps two bits more.
    first = _rounded(blocks @ forward.T, _BITS - _PASS)
    frequencies = _rounded(forward @ first, _BITS + _PASS)
    steps = tables[:, None, None, None]
    size = frequencies.abs()
    levels = ((size + 4 * steps) / (8 * steps)).floor_().copysign_(frequencies)  # DCT's results are 8 times too large
    first = _rounded(inverse @ (levels * steps), _BITS - _PASS)
    values = _rounded(first @ inverse.T, _BITS + _PASS + 3)
    return (values + 128).clamp_(0, 255).transpose(3, 4).reshape(n, c, height, width)


def _rounded(x: Tensor, bits: int) -> Tensor:
    """Return x / 2**bits, halves up."""
    return x.mul_(2.0**-bits).add_(0.5).floor_()


def _tables(base: tuple[int, ...], quality: Tensor) -> Tensor:
    """Return the quantisation of each sample, [n, 8, 8]."""
    percent = torch.where(quality < 50, 5000 // quality, 200 - 2 * quality)[:, None]
    steps = (torch.tensor(base, device=quality.device) * percent + 50).div(100, rounding_mode="floor").clamp(1, 255)
    return steps.double().view(-1, 8, 8)


@functools.cache
def _matrices() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the DCT and its inverse as matrices of integers, 2**13 times too large: what the butterflies of libjpeg
    come to before they round."""
    return _columns(_forward), _columns(_inverse)


def _columns(transform: Any) -> NDArray[np.float64]:
    return np.array([transform([int(i == k) for i in range(8)]) for k in range(8)], np.float64).T.copy()


def _odd(t0: int, t1: int, t2: int, t3: int) -> tuple[int, int, int, int]:
    """Return the odd half, which both directions share (T.81 has none; Loeffler, Ligtenberg and Moschytz 1989)."""
    f = _FIX
    z5 = (t0 + t2 + t1 + t3) * f["1_175"]
    z1, z2 = -f["0_899"] * (t0 + t3), -f["2_562"] * (t1 + t2)
    z3, z4 = z5 - f["1_961"] * (t0 + t2), z5 - f["0_390"] * (t1 + t3)
    return (
        t0 * f["0_298"] + z1 + z3,
        t1 * f["2_053"] + z2 + z4,
        t2 * f["3_072"] + z2 + z3,
        t3 * f["1_501"] + z1 + z4,
    )


def _forward(d: list[int]) -> list[int]:
    f, one = _FIX, 2**_BITS
    t = [d[i] + d[7 - i] for i in range(4)]
    t10, t13, t11, t12 = t[0] + t[3], t[0] - t[3], t[1] + t[2], t[1] - t[2]
    z1 = (t12 + t13) * f["0_541"]
    seven, five, three, first = _odd(d[3] - d[4], d[2] - d[5], d[1] - d[6], d[0] - d[7])
    return [
        (t10 + t11) * one, first, z1 + t13 * f["0_765"], three,
        (t10 - t11) * one, five, z1 - t12 * f["1_847"], seven,
    ]  # fmt: skip


def _inverse(d: list[int]) -> list[int]:
    f, one = _FIX, 2**_BITS
    z1 = (d[2] + d[6]) * f["0_541"]
    t2, t3 = z1 - d[6] * f["1_847"], z1 + d[2] * f["0_765"]
    t0, t1 = (d[0] + d[4]) * one, (d[0] - d[4]) * one
    even = [t0 + t3, t1 + t2, t1 - t2, t0 - t3]
    odd = _odd(d[7], d[5], d[3], d[1])[::-1]
    return [a + b for a, b in zip(even, odd, strict=True)] + [a - b for a, b in zip(even, odd, strict=True)][::-1]
