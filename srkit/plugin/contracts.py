"""What the target of each kind is called with, and what it gives.

A row of `KINDS` says what a target is given beside its settings, where it declares it, and which facts a component may
state; the protocol of the same name says what comes back. An attribute of that, of a fact's name and type, goes before
the fact: so facts may depend on settings. A parameter that has a kind's protocol as its type takes a component.

Images have two forms. At rest: uint8 or uint16, [height, width, 3], RGB, numpy. In the network: float32,
[n, 3, height, width], 0..1, torch.

A component of a kind is any callable that keeps its protocol: it need not inherit from anything here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

from srkit.plugin.kind import Fact, Kind

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor, nn
    from torch.optim import Optimizer

    from srkit.images.manifest import Manifest

    Image = NDArray[np.uint8] | NDArray[np.uint16]


class Window(NamedTuple):
    """A rectangle of an image, in pixels."""

    top: int
    left: int
    height: int
    width: int


class Architecture(Protocol):
    """Made with `scale=4, **settings`. Any `torch.nn.Module`; float32 images of the network's form in and out.

    Where its `forward` declares `size`, it is given SR's (height, width), and serves each scale of its `scales`, or
    else of its `scale_range`, or else all from 1; it need not be made with a scale then. One that was made for 4 and
    gives 2 as well has an attribute `scales = (2, 4)`.

    In training it may return `(SR, {name: tensor})`; losses that declare `extras` are given the dictionary. `forward`
    may also declare `hr` and `draws`, which it is given in training alone, and `points`, int64 [n, q]: pixels of SR as
    flat indices, or None for all of them. Of points it returns [n, 3, q, 1].

    With a method `features(lr)`, [n, 3, h, w] to [n, c, h, w], it may be the trunk of a network of any scale.

    With a method `stages() -> Sequence[Stage]`, large images go through it stage by stage, each in strips of rows: with
    the whole image's SR, though it takes means over the image, and in a part of the memory.

    With a method `for_inference() -> nn.Module`, `eval` and `upscale` take that network in its place: the same function
    of weights that are copied and folded, which need not be trained. It offers stages where the network does.
    """

    def __call__(self, lr: Tensor) -> Tensor:
        """Return SR of a batch, [n, 3, h, w] to [n, 3, h * scale, w * scale]."""


class Stage(NamedTuple):
    """A part of a network, to be computed in strips of rows: the first of LR, each other of what the one before made.

    `run(x)` makes [n, d, h * scale, w * scale] of [n, c, h, w]; its output for some rows depends on `halo` more rows of
    its input above and below. It may declare `lr`, the same rows of LR, where no stage before it enlarges. `pooled(x)`
    makes [n, e, h, w] of its input, each pixel by itself; `run` may then declare `mean`, its mean over the image,
    [n, e], and nothing else sees more than the halo.
    """

    run: Callable[..., Tensor]
    halo: int
    scale: int = 1
    pooled: Callable[[Tensor], Tensor] | None = None


class Loss(Protocol):
    """Made from `**settings`. Float32 images of the network's form in, a scalar out.

    A loss that is a sum over the batch says so (see the facts), so that the trainer can scale its gradients when a
    batch is taken in parts. Where it is an `nn.Module`, it is moved to the device of the images, and its parameters are
    trained by the network's optimizer, to lower the loss like the network's. A function that uses a module of its
    closure has it where it was made, on the CPU: make it an `nn.Module` instead. With an attribute `autocast = True` it
    computes in `train.precision`, else in float32.

    It may declare more: `lr`; `extras`, what the network returned beside SR; `ema`, SR of the moving average of the
    weights; `step`, from 0. One that declares `step` may have `phase(step)`, which returns what the step decides: steps
    with equal phases compute the same function, and can be replayed as one CUDA graph. Where points were sampled, SR
    and HR are [n, 3, q, 1].

    An adversarial loss is an `nn.Module` that has `adversary`, one of its modules, and
    `adversary_loss(sr, hr) -> Tensor`, which the adversary minimises with a separate optimizer. It is given SR
    without its gradient, and may declare the same words.
    """

    def __call__(self, sr: Tensor, hr: Tensor) -> Tensor:
        """Return the loss of SR against HR, a scalar with a gradient with respect to SR."""


class Discriminator(Protocol):
    """Made from `**settings`. Any `torch.nn.Module` that looks at images of the network's form, HR and SR alike.

    A loss with a parameter of this type, `discriminator: srkit.Discriminator`, is given one; a learner beside the
    network's trains it.
    """

    def __call__(self, images: Tensor) -> Tensor:
        """Return logits of [n, 3, h, w], of any shape that begins with n: above 0 for what looks like HR."""


class Dataset(Protocol):
    """Made from `**settings`. HR images at rest, with LR beside them where there is any. Read from several threads.

    Five more are optional: `describe() -> str`, a line on what was found; `windowed`, True where a window is read
    without its image, so that nothing is gained by keeping the images in memory; `manifest() -> Manifest | None`, what
    `srkit prepare` has kept with the images; `weight(index) -> float`, how often training draws an image beside the
    others, all alike where it is absent; `digests() -> Sequence[str]`, a short text for each image, in their order,
    that changes with it, so that a run can say which of its images have changed.
    """

    def __len__(self) -> int:
        """Return the number of images."""

    def name(self, index: int) -> str:
        """Return an image's name, unique in the source, without a suffix: "baby"."""

    def size(self, index: int) -> tuple[int, int]:
        """Return (height, width) in pixels, without decoding the image."""

    def read(self, index: int, window: Window | None = None) -> Image:
        """Return an image or a window of it, [height, width, 3], uint8 or uint16. The caller does not write to it.

        Raises InputRejected, naming the file, where it cannot be read.
        """

    def lr(self, scale: int) -> Dataset | None:
        """Return the LR images of a scale, one for each HR image in the same order and by the same name, or None where
        there are none.

        Raises InputRejected where some HR images have one and others have not.
        """

    def fingerprint(self) -> str:
        """Return a short text that changes when the images do: scores and runs on other images are not comparable."""


class Writer(Protocol):
    """Called with `path=Path(...), **settings`: where to write, which is not there yet; a file or a folder.

    The dataset of the same name, called with `path=`, reads what it wrote. Used from one thread. When all is written it
    is flushed to the disk and renamed, so that a writer need not care for being killed.
    """

    def add(self, name: str, images: Mapping[str, Image]) -> None:
        """Write an image: "hr" and any of "lr_x2", "lr_x4"..., [height, width, 3], uint8 or uint16; the same sides
        each time. Raises OSError."""

    def finish(self, manifest: Manifest) -> None:
        """Keep the manifest with the images, so that the dataset's `manifest()` returns it. Raises OSError."""

    def close(self) -> None:
        """Close what is open; called once, whether it was finished or not."""


class Draws(Protocol):
    """The random numbers of a batch's samples, float32 on the images' device, a row for each sample.

    A row is a function of the run's seed, the component's place in the recipe, the step and the sample's slot alone: so
    a stopped run goes on with the same samples, and so does one on another device. Each call gives other numbers than
    the calls before it. Once a part of a component may be skipped or added, it draws from a stream with a name, so that
    the others' numbers stay what they were.
    """

    def uniform(self, count: int = 1) -> Tensor:
        """Return [n, count], uniform from 0 to below 1."""

    def normal(self, *shape: int) -> Tensor:
        """Return [n, *shape], of mean 0 and standard deviation 1."""

    def of(self, name: str) -> Draws:
        """Return the stream of a name, which has the same numbers, no matter what was drawn before."""

    def at(self, samples: Tensor) -> Draws:
        """Return the draws of some samples alone, int64 [k], from its beginning."""


class DeterministicDegradation(Protocol):
    """Called with `scale=4, **settings`. A whole HR image at rest to a whole LR image of the same dtype.

    Height and width of HR are multiples of the scale. Called from several threads. Where its call declares `size` it is
    given LR's (height, width), and serves any scale, 2.7 too. For a recipe's `data.scales` it has one more method,
    `batch(hr: Tensor, size) -> Tensor`: LR of a batch in the network's form, on its device.
    """

    def __call__(self, hr: Image) -> Image:
        """Return LR of a whole image, [height / scale, width / scale, 3]."""


class RandomDegradation(Protocol):
    """Called with `scale=4, **settings`; the component states `deterministic=False`.

    HR [n, 3, h, w] in the network's form to LR [n, 3, h / scale, w / scale]. Sample i may depend on row i of what is
    drawn from `draws` alone, and on no other source of chance. One that states the fact `draws` is given a tensor
    instead, [n, that many], uniform in 0..1, both ends included. Where its call declares `size`, `(hr, size, draws)`,
    it is given LR's (height, width), and serves any scale. It may have `describe(draws) -> list[str]`, what was drawn
    for each sample in words, for `srkit degrade --sheet`.
    """

    def __call__(self, hr: Tensor, draws: Draws) -> Tensor:
        """Return LR of a batch."""


class Distortion(Protocol):
    """Made from `**settings`; a step of a random degradation. Images of the network's form to images, of another size
    perhaps. Sample i may depend on row i of what is drawn from `draws` alone, and on no other source of chance.

    Where each sample becomes another size, it returns `(images, sizes)`: the images on one canvas, at its top left, and
    int64 [n, 2], the height and width of each. What lies beyond repeats an image's last row and column. One that
    declares `sizes` is given those of its images, or None where they fill the canvas; one that declares `size` is given
    LR's (height, width), or None where it is used alone. It may have `describe(draws) -> list[str]`, what was drawn for
    each sample in words.
    """

    def __call__(self, images: Tensor, draws: Draws) -> Tensor | tuple[Tensor, Tensor]:
        """Return the images of a batch, [n, 3, h, w] as float32 of 0..1; they may overshoot a little."""


class Augmentation(Protocol):
    """Made from `**settings`. LR and HR of the network's form, and `draws` as above; patches are square."""

    def __call__(self, lr: Tensor, hr: Tensor, draws: Draws) -> tuple[Tensor, Tensor]:
        """Return (lr, hr), changed alike."""


class Metric(Protocol):
    """Made from `**settings`. Two images at rest, uint8, whose border the protocol has cut, unless it states
    `border=False`; a number, which is the same whichever is named first, unless it states `symmetric=False`. Raises
    ValueError for images of different sizes, or too small for it. One that states `reference=False` looks at SR alone,
    and is called with it alone.

    One with a setting that names a file of what good images are like may have a function beside it, an attribute of the
    component's target: `fit(images) -> bytes`, which `srkit fit` gives images at rest, uint8, one after the other, and
    whose result it writes. It raises ValueError where they are too few.
    """

    def __call__(self, sr: NDArray[np.uint8], hr: NDArray[np.uint8]) -> float:
        """Return the score."""


class OptimizerFactory(Protocol):
    """Called with the parameters (positionally) and `**settings`. Any `torch.optim.Optimizer` whose groups have an
    `lr`, and whose state is of tensors and of what JSON has a form for.

    Where it declares `named_parameters`, it is given the list of (name, parameter) of the same parameters by that name,
    so that it can make groups by names: those of the network's weights, and "loss.name" of a loss's own. Declared in
    the first place, they stand there instead of the parameters. Where a recipe is checked, the only one is named "".

    One that averages the weights has `averaged(parameter) -> Tensor`: what the parameter is to be where the network is
    scored or kept. It changes nothing, so that a run does not depend on when it is scored; `train.ema` goes before it.
    """

    def __call__(self, parameters: Iterable[nn.Parameter], **settings: Any) -> Optimizer:
        """Return the optimizer of these parameters."""


class Schedule(Protocol):
    """Called with `steps=200_000, **settings`. A pure function: step (from 0) to the learning rate's factor."""

    def __call__(self, step: int) -> float:
        """Return the factor of a step."""


class Detected(NamedTuple):
    """Which network weights are of: an architecture by the name that recipes give it, its settings and its scale."""

    architecture: str
    settings: Mapping[str, Any]
    scale: int


class Detector(Protocol):
    """Made from `**settings`. Asked for a file that does not say which network it holds, and is not told on the command
    line."""

    def __call__(self, weights: Mapping[str, Tensor]) -> Detected | None:
        """Return which network the tensors of a state dict are of, by their names and shapes; None where it is none of
        those that this detector knows. Weights that fit several networks are not guessed."""


class Run(NamedTuple):
    """What an observer is given when a run starts.

    `title` is the recipe's, `directory` the run's. `first_step` is the number of updates that were made before: 0 for a
    new run, the newest checkpoint's step where a run is continued, and events of later steps may come once more
    then. `steps` is the number that the run ends at. `facts` has `architecture`, `parameters` (how many), `scale`,
    `images` (to train on), `device`, and `started`, a line on the weights that it began with, where it did.
    """

    title: str
    directory: Path
    first_step: int
    steps: int
    facts: Mapping[str, Any]


class Picture(NamedTuple):
    """One of the first images of a validation set, as it was scored: uint8 [height, width, 3], RGB, all of HR's size.

    `data` is the set's name, `name` the image's. `baseline` is bicubic's image, None where a run has no bicubic row.
    """

    data: str
    name: str
    baseline: NDArray[Any] | None
    sr: NDArray[Any]
    hr: NDArray[Any]


class Observer(Protocol):
    """Made from `**settings`; has any of these methods. It only watches: one that raises is dropped with a warning.

    `values` are plain floats: `loss`, the weighted sum (the mean since the last event), and each loss by its name, a
    second one of a name as `l1_2`; of an adversarial loss its adversary's, too, `adversarial.adversary`; one that was
    not due since then is absent. `epoch` (samples drawn since the first step, in training sets), `learning_rate` (of
    the network's first group of parameters), `it_per_s` (updates a second), `images_per_s` (samples a second),
    `data_share` (0..1 of the time spent waiting for data), `eta_s` (seconds left). The times are those of training:
    validations and saves do not count.

    `tables` has a table for each validation set, plain values of JSON: `data` (the set's name), `scale`, `protocol`,
    and `rows`, the network's first, bicubic's behind it. A row has `model` (the component's name, or "bicubic"), `mean`
    ({metric: value}) and `images` ({image: {metric: value}}); values may be infinite, and are NaN where the network's
    output is not finite. Where images are exact, of infinite PSNR, `exact` names them ({metric: [image]}): no mean has
    them. A protocol has `scale`, `color` and `border` (by metric), `rounding`, `fit`, `lr`, `forward`, `ensemble`,
    `images` (how many), `fingerprint`, and `padding` (by network) where LR was padded.
    """

    def run_started(self, run: Run) -> None:
        """Be given what the run is, before its first step; once in each process."""

    def logged(self, step: int, values: Mapping[str, float]) -> None:
        """Be given the means since the last line of the log, every `train.log_every` steps."""

    def validated(self, step: int, tables: list[dict[str, Any]]) -> None:
        """Be given the tables of a validation, a dictionary for each set."""

    def pictured(self, step: int, pictures: list[Picture]) -> None:
        """Be given the first images of each validation set; not to be written to."""

    def saved(self, step: int, path: Path) -> None:
        """Be given the folder of a checkpoint that was written whole."""

    def run_ended(self, step: int, outcome: str) -> None:
        """Be given the last step and "finished", "stopped" or "failed"."""


class Exported(NamedTuple):
    """A file of an exporter's, opened in the runtime that it is for.

    `run` takes LR and returns SR, float32 [n, 3, h, w] of numpy. `words` is what the file says of its network; empty
    where it says nothing.
    """

    run: Callable[[NDArray[np.float32]], NDArray[np.float32]]
    words: Mapping[str, str]


class Exporter(Protocol):
    """Made from `**settings`, in a process for each attempt: writes a network for another runtime, and opens what it
    wrote there. `srkit export` compares the two, and keeps no file that gives another SR.

    Where it declares `half`, it is given whether the weights are to have 16 bits; images go in and come out as float32
    all the same.
    """

    def write(
        self, network: nn.Module, example: Tensor, path: Path, *, words: Mapping[str, str], way: str, fixed: bool
    ) -> None:
        """Write a network, in eval mode on the CPU, from LR to SR alone; `example` is LR, [1, 3, h, w].

        The file takes LR of any height and width, or if `fixed` of the example's alone. `way` is one of the `ways` that
        the component states, "" where there is one only. `words` are kept in the file, or beside it; other files that
        belong to it have its stem. Raises ValueError where the format has no form for the network.
        """

    def open(self, path: Path) -> Exported:
        """Open a file. Raises an error where it is none, and NotImplementedError where its runtime is not for this
        machine: `srkit export` then keeps the file, and says that it was not compared."""


_ANY = {
    "deviations": Fact(
        dict[str, str], "checks of its contract (`srkit check-plugin`) that it does not pass, each with the reason"
    ),
    "needs": Fact(str, "a file that a setting must name, and where it is found; `srkit list` shows it"),
}
_SCALES = Fact(tuple[int, ...], "the scales it is made for; any scale where absent")
_DRAWS = Fact(int, "takes chance as a tensor [n, that many], uniform in 0..1; else it is given Draws")


def _kind(
    name: str,
    summary: str,
    *protocols: type,
    given: tuple[str, ...] = (),
    first: str = "",
    makes: str = "",
    events: bool = False,
    plural: str = "",
    keys: tuple[str, ...] = ("type",),
    **facts: Fact,
) -> Kind:
    return Kind(
        name=name,
        summary=summary,
        plural=plural or f"{name}s",
        protocols=protocols,
        given=given,
        first=first,
        makes=makes,
        events=events,
        keys=keys,
        facts={**facts, **_ANY},
    )


KINDS: Mapping[str, Kind] = {
    kind.name: kind
    for kind in (
        _kind(
            "architecture",
            "a network: LR to SR",
            Architecture,
            Stage,
            given=("scale",),
            makes="torch.nn:Module",
            scales=_SCALES,
            scale_range=Fact(
                tuple[float, float], "the least and the greatest scale it serves, where `forward` declares `size`"
            ),
            weights_fit_any_scale=Fact(
                bool,
                "whether weights of one of its scales fit all, so that `--scale` picks which it is made with",
                False,
            ),
            tileable=Fact(bool, "whether the output for a window is the window of the output (no global pooling, say)"),
            halo=Fact(
                int,
                "how many LR pixels around a window its SR depends on, for tiles; measured by a gradient where absent",
            ),
            min_size=Fact(int, "the least height and width of LR, in pixels; smaller images are padded, SR is cut", 1),
            multiple_of=Fact(
                int, "height and width of LR must be divisible by this; other images are padded, SR is cut", 1
            ),
            most_parts=Fact(
                int, "modules, parameters and buffers that it may have; a mistyped setting asks for more", 50_000
            ),
        ),
        _kind(
            "loss",
            "a term of what training minimises",
            Loss,
            plural="losses",
            keys=("type", "weight", "from_step", "every", "adversary"),
            reduction=Fact(Literal["mean", "sum"], "over the batch", "mean"),
            min_size=Fact(int, "the least height and width of HR patches, in pixels", 1),
        ),
        _kind(
            "discriminator",
            "tells HR from SR, for adversarial losses",
            Discriminator,
            makes="torch.nn:Module",
        ),
        _kind("dataset", "a source of images", Dataset, Window),
        _kind("writer", "a format that `srkit prepare` packs images into", Writer, given=("path",)),
        _kind(
            "degradation",
            "HR to LR",
            DeterministicDegradation,
            RandomDegradation,
            given=("scale",),
            scales=_SCALES,
            deterministic=Fact(bool, "whether it takes a whole image, once, or else batches, with draws", True),
            draws=_DRAWS,
        ),
        _kind("distortion", "a step of a random degradation: images to images", Distortion),
        _kind(
            "augmentation",
            "a change to LR and HR alike",
            Augmentation,
            draws=_DRAWS,
        ),
        _kind(
            "metric",
            "how good SR is",
            Metric,
            better=Fact(Literal["higher", "lower"], "which scores are better", "higher"),
            color=Fact(str, 'what it looks at, for the caption: "Y" or "RGB"', "RGB"),
            reference=Fact(bool, "whether it is called with SR and HR, or else with SR alone", True),
            symmetric=Fact(bool, "whether SR against HR scores as HR against SR", True),
            border=Fact(bool, "whether the protocol's border is cut before it looks", True),
            protocol=Fact(
                str, "for the caption, what a score depends on beside the images; its changed settings where absent"
            ),
        ),
        _kind(
            "optimizer",
            "how the weights learn",
            OptimizerFactory,
            given=("parameters", "named_parameters"),
            first="parameters",
            makes="torch.optim:Optimizer",
        ),
        _kind("schedule", "the learning rate's factor at each step", Schedule, given=("steps",)),
        _kind("observer", "watches a run", Observer, Run, events=True),
        _kind("detector", "tells which network a file of weights is of", Detector, Detected),
        _kind(
            "exporter",
            "writes a network for another runtime, and runs it there",
            Exporter,
            Exported,
            given=("half",),
            suffix=Fact(str, "what its files end with, by which `srkit upscale` and `srkit eval` know them"),
            ways=Fact(tuple[str, ...], "ways to write a network, each tried where the one before gives another SR"),
            free_size=Fact(bool, "whether its files can take LR of any size", True),
            largest=Fact(int, "the largest height and width of LR that its files take; any where absent"),
            batches=Fact(bool, "whether its files take several images at once", False),
        ),
    )
}


def kind_of(protocol: Any) -> Kind | None:
    """Return the kind whose components keep a protocol: a parameter of that type takes a component of that kind."""
    if not getattr(protocol, "_is_protocol", False):
        return None
    return next((kind for kind in KINDS.values() if protocol in kind.protocols), None)
