"""What a run is: the recipe and its parts, as data.

What its keys mean stands in the `Args:` of each class, as with a component's settings, and `srkit schema` tells it.
"""

from __future__ import annotations

import hashlib
from typing import Any, ClassVar, Literal

import attrs
import tomli_w

from srkit.plugin.part import Part, as_tree


def _number(default: Any = attrs.NOTHING, *, least: float, below: float | None = None) -> Any:
    return attrs.field(default=default, metadata={"least": least, "below": below})


def _silent(default: Any, **metadata: Any) -> Any:
    """Return a field that a resolved recipe leaves out where it has its default: runs of srkit 0.1 have none such."""
    return attrs.field(default=default, metadata={"silent": True, **metadata})


@attrs.frozen
class ArchitecturePart(Part):
    """`[architecture]`: the network."""

    kind: ClassVar[str] = "architecture"


@attrs.frozen
class WeightPart(Part):
    """A loss's weight as a schedule.

    Args:
        value: what the schedule's factor is multiplied by, 0 at least
    """

    kind: ClassVar[str] = "schedule"
    value: float = _number(1.0, least=0)


@attrs.frozen
class OptimizerPart(Part):
    """`[optimizer]`: how the weights learn."""

    kind: ClassVar[str] = "optimizer"


@attrs.frozen
class SchedulePart(Part):
    """`[schedule]`: the learning rate's factor at each step."""

    kind: ClassVar[str] = "schedule"


@attrs.frozen
class Adversary:
    """`[loss.adversary]`: how the adversary of a loss learns.

    Args:
        optimizer: the recipe's own where absent
        schedule: the recipe's own where absent
        from_step: the first step that updates it; the loss's own where absent
        every: steps from one update to the next
    """

    optimizer: OptimizerPart | None = None
    schedule: SchedulePart | None = None
    from_step: int | None = _number(None, least=0)
    every: int = _number(1, least=1)


@attrs.frozen
class LossPart(Part):
    """One loss of the sum that training minimises.

    Args:
        weight: what the loss is multiplied by in the sum of all, 0 at least; or a schedule with a `value`
        from_step: the first step at which it counts
        every: steps from one at which it counts to the next
        adversary: how its adversary learns, where it has one
    """

    kind: ClassVar[str] = "loss"
    weight: float | WeightPart = attrs.field(default=1.0, metadata={"least": 0})
    from_step: int = _silent(0, least=0)
    every: int = _silent(1, least=1)
    adversary: Adversary | None = None


@attrs.frozen
class DatasetPart(Part):
    """A source of images."""

    kind: ClassVar[str] = "dataset"


@attrs.frozen
class DegradationPart(Part):
    """`[data.degradation]`: HR to LR."""

    kind: ClassVar[str] = "degradation"


@attrs.frozen
class AugmentationPart(Part):
    """An entry of `data.augment`."""

    kind: ClassVar[str] = "augmentation"


@attrs.frozen
class MetricPart(Part):
    """One `[[metric]]`."""

    kind: ClassVar[str] = "metric"


@attrs.frozen
class ObserverPart(Part):
    """One `[[observer]]`."""

    kind: ClassVar[str] = "observer"


@attrs.frozen
class Data:
    """`[data]`: what is trained on.

    Args:
        dataset: the images
        degradation: HR to LR; without one, the LR files beside HR where there are any, or else MATLAB's bicubic
        augment: a list of augmentations
        patch: side of the training windows in LR pixels
        scales: the least and the greatest scale, of which one is drawn for each step: for a network that is given the
            size of SR; LR is then made of each window by the degradation
        points: pixels of each HR window that count, drawn anew; without, all do
        batch: samples of one update
        threads: that decode images
        cache: "memory", "device", "none", or "auto": the device where they fit, the file where windows are read from
            it, or else memory
        on_bad_image: what happens to a run where an image cannot be read: "fail" ends it with the image's name;
            "replace" goes on with others in its place, up to 0.1 % of the images
    """

    dataset: DatasetPart
    degradation: DegradationPart | None = None
    augment: tuple[AugmentationPart, ...] = ()
    patch: int = _number(48, least=1)
    scales: tuple[float, float] | None = None
    points: int | None = _number(None, least=1)
    batch: int = _number(16, least=1)
    threads: int = _number(2, least=1, below=257)
    cache: Literal["auto", "memory", "device", "none"] = "auto"
    on_bad_image: Literal["fail", "replace"] = _silent("fail")


@attrs.frozen
class Validate:
    """`[[validate]]`: a set of whole images, scored during training.

    Args:
        name: what every table calls the set
        dataset: its images
        scale: how much larger SR is than LR here, 2.7 too; without, the recipe's
        degradation: HR to LR here; a random one draws by the image's number, so that scores are repeatable; without,
            the LR files beside HR, or what the recipe's makes of whole images, or MATLAB's bicubic
    """

    name: str
    dataset: DatasetPart
    scale: int | float | None = _number(None, least=1, below=65)
    degradation: DegradationPart | None = None


@attrs.frozen
class Start:
    """`[start]`: a file of weights to start from, or a recipe whose best they are, and what alone may be new.

    Args:
        weights: a file of weights or a run directory; taken by name, and all of them
        recipe: or a recipe, whose best weights they are; its run lies beside this one and is trained first
        fresh: patterns of the parameters that may be new, ["upconv2.*"]
        key: which network of a file of several: "netG", "state_dict.netG"
        adversaries: for a loss by its name, a file of weights, or a run directory, that its adversary starts from
    """

    weights: str = ""
    recipe: str = ""
    fresh: tuple[str, ...] = ()
    key: str = ""
    adversaries: dict[str, str] = attrs.field(factory=dict, metadata={"silent": True})


@attrs.frozen
class Train:
    """`[train]`: how long and how. A step is one update of the weights.

    Args:
        steps: updates of the weights; the last is always validated and saved
        device: "auto": CUDA, MPS or the CPU; "cuda:1"
        threads: of torch on the CPU; 0 is torch's own choice, and their number decides the last bits
        precision: "float32", "bfloat16" or "float16"
        compile: torch.compile
        graph: "auto": on CUDA a step is recorded and launched as one graph, where that is possible; "off": never
        channels_last: memory layout
        ema: decay of a moving average of the weights, which is then what is scored and kept; 0 for none
        clip: largest norm of the gradients; 0 for none
        accumulate: parts that a batch is computed in, to save memory; several processes share them
        log_every: steps from one line of the log to the next
        validate_every: steps from one validation to the next
        checkpoint_every: steps from one checkpoint to the next
        keep: checkpoints kept besides the best
        deterministic: "run": the same bits after any stop; "elastic": and with any number of processes, that may change
            at a stop; "off": fastest
    """

    steps: int = _number(least=1)
    device: str = attrs.field(default="auto", metadata={"pattern": r"auto|cpu|mps|cuda(:(0|[1-9][0-9]?))?"})
    threads: int = _number(0, least=0, below=1025)
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    compile: bool = False
    graph: Literal["auto", "off"] = "auto"
    channels_last: bool = True
    ema: float = _number(0.0, least=0, below=1)
    clip: float = _number(0.0, least=0)
    accumulate: int = _number(1, least=1)
    log_every: int = _number(100, least=1)
    validate_every: int = _number(5_000, least=1)
    checkpoint_every: int = _number(5_000, least=1)
    keep: int = _number(2, least=1)
    deterministic: Literal["off", "run", "elastic"] = "off"


@attrs.frozen(kw_only=True)
class Recipe:
    """A run, whole. Frozen data: it names components and never holds one.

    Args:
        title: a name for people
        scale: how much larger SR is than LR
        architecture: the network
        data: what is trained on
        train: how long and how
        loss: one or several, each with a weight
        metric: what the sets of [[validate]] are scored by; the first decides which step is best
        optimizer: how the weights learn
        schedule: the learning rate's factor at each step
        validate: sets of whole images, each with a name and a dataset
        observer: more that watch the run; log and metrics_jsonl always do, and console in `srkit run`
        start: what training starts from
        seed: decides the first weights and every sample
    """

    title: str
    scale: int = _number(least=1, below=65)
    architecture: ArchitecturePart
    data: Data
    train: Train
    loss: tuple[LossPart, ...]
    metric: tuple[MetricPart, ...]
    optimizer: OptimizerPart
    schedule: SchedulePart
    validate: tuple[Validate, ...] = ()
    observer: tuple[ObserverPart, ...] = ()
    start: Start = attrs.field(factory=Start)
    seed: int = _number(0, least=0, below=2**63)

    @property
    def words(self) -> dict[str, int]:
        """What its components, and those within them, are given where they declare it."""
        return {"scale": self.scale, "steps": self.train.steps}

    def to_tree(self) -> dict[str, Any]:
        """Return the recipe as TOML's types, every default written out, keys in a reader's order."""
        order = ["title", "scale", "seed", "start", "architecture", "loss", "data", "validate", "metric"]
        tree = as_tree(self)
        return {
            key: tree[key] for key in [*order, *(k for k in tree if k not in order)] if tree.get(key) not in ((), [])
        }

    def to_toml(self) -> str:
        """Return the recipe as TOML text, which reads back as the same recipe."""
        return tomli_w.dumps(self.to_tree())

    @property
    def hash(self) -> str:
        """Sixteen hexadecimal digits that change when any key does."""
        return hashlib.sha256(self.to_toml().encode()).hexdigest()[:16]


PARTS: tuple[type[Part], ...] = (
    ArchitecturePart,
    LossPart,
    DatasetPart,
    DegradationPart,
    AugmentationPart,
    MetricPart,
    OptimizerPart,
    SchedulePart,
    ObserverPart,
)
