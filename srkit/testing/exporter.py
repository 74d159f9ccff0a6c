"""What an exporter must do."""

from __future__ import annotations

import contextlib
import io
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

import attrs
import torch
from torch import Tensor, nn

from srkit.engine.exporting.attempt import SIZES, compared
from srkit.errors import ComponentError, describe
from srkit.plugin.contracts import KINDS, Exported
from srkit.plugin.settings import named
from srkit.testing.check import Check, Inapplicable, Subject, fail

WORDS = {"srkit": '{"scale": 2, "title": "made \\"up\\""}', "scale": "2"}
STEM = "made"


class Small(nn.Module):
    """A network for scale 2 that any runtime has the layers for."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 48, 3, padding=1), nn.ReLU(), nn.Conv2d(48, 12, 3, padding=1), nn.PixelShuffle(2)
        )

    def forward(self, lr: Tensor) -> Tensor:
        """Return SR of LR."""
        sr: Tensor = self.body(lr)
        return sr


def suffix_is_stated(subject: Subject) -> None:
    """It states the suffix of its files, ".onnx", by which commands know them."""
    suffix = str(subject.facts.get("suffix", ""))
    if Path(f"{STEM}{suffix}").suffix != suffix or not suffix:
        fail(f"its suffix is {suffix!r}", 'state one: facts={"suffix": ".onnx"}')


def sr_is_that_of_torch(subject: Subject) -> None:
    """What it wrote gives the SR of torch in its runtime, by each of its ways: at three sizes where it states that
    files take any, and of two images where it states that they take several."""
    fixed = not subject.facts.get("free_size", True)
    sizes = SIZES[:1] if fixed else SIZES
    count = 2 if subject.facts.get("batches") and not fixed else 1
    for way in subject.facts.get("ways", ("",)):
        with _written(subject, way=way, fixed=fixed) as written:
            found = compared(written.network, written.opened.run, sizes, count)
            if found.reason:
                fail(
                    f"by the way '{way}' a file {found.reason}",
                    "let write raise ValueError where it has no form for it",
                )


def one_size_is_written(subject: Subject) -> None:
    """Where it is asked for a file of one size, the file gives the SR of torch at that size."""
    with _written(subject, fixed=True) as written:
        found = compared(written.network, written.opened.run, SIZES[:1], 1)
        if found.reason:
            fail(f"a file for one size {found.reason}", "write it for the example's size where `fixed` is true")


def files_have_its_stem(subject: Subject) -> None:
    """All files that it writes have the stem of the path that it is given: `srkit export` keeps all of them."""
    with _written(subject) as written:
        others = [path.name for path in written.path.parent.iterdir() if path.name.partition(".")[0] != STEM]
        if others or not written.path.exists():
            fail(f"it wrote {', '.join(others) or 'no file of that name'}", "write `path`, and path.with_suffix(...)")


def words_are_kept(subject: Subject) -> None:
    """A file that is opened has the words that it was written with."""
    with _written(subject) as written:
        lost = {name: written.opened.words.get(name) for name in WORDS if written.opened.words.get(name) != WORDS[name]}
        if lost:
            fail(f"of {WORDS} it gives {lost} back", "keep words in the file, or in one beside it")


def half_is_smaller(subject: Subject) -> None:
    """Where it declares `half`, its files are smaller with it, and SR stays that of torch to half a level of 8 bits."""
    if not named(subject.component.load(), KINDS["exporter"].given):
        raise Inapplicable("it declares no half")
    fixed = not subject.facts.get("free_size", True)
    with _written(subject, fixed=fixed) as whole, _written(subject, fixed=fixed, half=True) as half:
        if half.size >= whole.size:
            fail(f"with half it writes {half.size:,} bytes, without {whole.size:,}", "keep weights as float16")
        found = compared(half.network, half.opened.run, SIZES[:1], 1, half=True)
        if found.reason:
            fail(f"with half a file {found.reason}", "take and give float32, and round the weights alone")


def what_is_no_file_is_refused(subject: Subject) -> None:
    """Opening a file of something else raises an error."""
    with tempfile.TemporaryDirectory() as folder, _quiet():
        path = Path(folder) / f"{STEM}{subject.facts.get('suffix', '')}"
        path.write_text("this is no network\n" * 20)
        try:
            subject.make().open(path)
        except Exception:  # each runtime has its own errors
            return
        fail("it opens a file of text", "raise ValueError")


CHECKS = (
    Check(suffix_is_stated),
    Check(sr_is_that_of_torch),
    Check(one_size_is_written),
    Check(files_have_its_stem),
    Check(words_are_kept),
    Check(half_is_smaller),
    Check(what_is_no_file_is_refused),
)


@attrs.frozen
class _Written:
    network: nn.Module
    path: Path
    opened: Exported

    @property
    def size(self) -> int:
        return sum(path.stat().st_size for path in self.path.parent.rglob("*") if path.is_file())


@contextlib.contextmanager
def _written(
    subject: Subject, *, way: str | None = None, fixed: bool | None = None, half: bool = False
) -> Iterator[_Written]:
    """Give a small network, and the file that was written of it, opened."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        network = Small().eval().requires_grad_(False)
    fixed = not subject.facts.get("free_size", True) if fixed is None else fixed
    way = (*subject.facts.get("ways", ()), "")[0] if way is None else way
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{STEM}{subject.facts.get('suffix', '')}"
        try:
            with _quiet():
                exporter = subject.make(half=half) if half else subject.make()
                exporter.write(network, torch.rand(1, 3, *SIZES[0]), path, words=WORDS, way=way, fixed=fixed)
                opened = exporter.open(path)
        except ComponentError:
            raise
        except NotImplementedError as error:
            raise Inapplicable(str(error)) from None
        except Exception as error:
            fail(f"of two convolutions it makes no file: {describe(error)}", "mend it, or state what it cannot do")
        yield _Written(network, path, opened)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep what exporters print, and what torch's warn of, from the table."""
    with (
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
        warnings.catch_warnings(action="ignore"),
    ):
        yield
