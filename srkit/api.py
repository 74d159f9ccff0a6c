"""What the command line does, for notebooks and scripts."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from srkit.errors import InputRejected, RunFailed, Stopped, UsageError
from srkit.plugin.discovery import installed

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import nn

    from srkit.engine.running.session import Result
    from srkit.plugin.component import Component
    from srkit.plugin.contracts import Dataset
    from srkit.plugin.registry import Registry
    from srkit.recipe.recipe import Recipe

log = logging.getLogger("srkit")

PathLike = str | os.PathLike[str]
REPORT = "report.html"


def components(kind: str | None = None) -> list[Component]:
    """Return the installed components, all or those of a kind. Imports none of them."""
    registry = installed()
    return [entry.component for entry in (registry if kind is None else registry.of_kind(kind))]


def create(kind: str, name: str, /, *given: Any, **settings: Any) -> Any:
    """Return a component made with these settings: `create("architecture", "a2n", scale=4, blocks=8)`.

    Raises ComponentError for an unknown component or setting, naming the nearest.
    """
    registry = installed()
    made = registry.create(kind, name, *given, **settings)
    if kind != "architecture":
        return made
    from srkit.engine.networks.padding import fit

    return fit(made, registry.find(kind, name).component)


def load_recipe(path: PathLike, *, set: Sequence[str] = ()) -> Recipe:
    """Return a recipe, checked whole but for its images; `set` holds "KEY=VALUE" texts.

    Raises RecipeError with every problem, UsageError where there is no such recipe.
    """
    from srkit.engine.builder import Builder
    from srkit.recipe.packaged import find_recipe

    return Builder(installed()).load(find_recipe(os.fspath(path)), overrides=set, datasets=False).recipe


def run(
    recipe: PathLike,
    *,
    out: PathLike | None = None,
    set: Sequence[str] = (),
    restart: bool = False,
    accept_dataset_change: bool = False,
    observers: Sequence[str] = (),
    registry: Registry | None = None,
) -> Result:
    """Train a recipe, or continue its run; return where it is, its last step and its tables.

    The run directory is `out`, or runs/<the recipe file's name>. Where the recipe starts from another one, that is
    trained first, in a directory beside. A run whose images have changed is refused with the difference, unless that is
    accepted. Started by torchrun, it trains with the other processes. Raises what `srkit run` prints: Stopped after a
    signal, KeyboardInterrupt where there is no checkpoint yet; Elsewhere in a process whose run another one has ended.
    """
    from srkit.runs.stopping import Interrupted, StopFlag

    with StopFlag() as stop:
        from srkit.engine.builder import Builder
        from srkit.engine.distributed import joined
        from srkit.engine.running import stages
        from srkit.recipe.packaged import find_recipe

        with joined(os.environ) as world:
            path = find_recipe(os.fspath(recipe))
            directory = Path(out) if out is not None else Path("runs") / path.stem
            homes, builder, goes_on = [directory], Builder(registry or installed()), False
            try:
                stop.heed()
                found: Sequence[stages.Stage] = ()
                if world.is_first:
                    found = stages.load_stages(path, builder, directory, overrides=set, restart=restart)
                found = stages.stages_of_first(found, builder, world)
                homes = [stage.home.path for stage in found]
                goes_on = world.first(lambda: stages.can_continue(homes, restart=restart))
                stop.heed()
                if any(stage.recipe.train.deterministic != "off" for stage in found):
                    # What CUDA's matrix products need for it. They look once, when the first of them is computed.
                    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
                return stages.train_stages(
                    found,
                    restart=restart,
                    observers=observers,
                    accept_dataset_change=accept_dataset_change,
                    world=world,
                )
            except Interrupted as error:
                if goes_on or (world.is_first and stages.can_continue(homes, restart=restart)):
                    raise Stopped(f"{error} before training went on; what was saved before is there") from None
                raise KeyboardInterrupt from None


def sweep(
    recipe: PathLike,
    grid: Mapping[str, Sequence[Any]] | None = None,
    *,
    seeds: int | None = None,
    processes: int = 1,
    out: PathLike | None = None,
    set: Sequence[str] = (),
    trials: int = 0,
    ranges: Mapping[str, Sequence[Any]] | None = None,
    plugins: Sequence[str] = (),
    registry: Registry | None = None,
) -> dict[str, Any]:
    """Train a recipe with each combination of the grid's values, {"optimizer.lr": [1e-4, 5e-4]}, for so many seeds.

    So many `processes` run at once and share the machine. The same call goes on: what is finished is used. With
    `trials` that many combinations are chosen by optuna, of the grid's values and of the `ranges`, [low, high] or [low,
    high, "log"]. Each run is a process, which is given the `plugins` by -p. Returns the document of `srkit sweep
    --json`; the folder, `out` or runs/<the recipe file's name>-sweep, has its page. Raises RecipeError and UsageError
    for mistakes, before any run begins; Stopped after a signal. A run that fails is in the document, with its reason.
    """
    from srkit.engine.builder import Builder
    from srkit.recipe.packaged import find_recipe
    from srkit.runs.stopping import StopFlag
    from srkit.sweeps.grid import parse_space
    from srkit.sweeps.search import run_grid, run_search
    from srkit.sweeps.sweep import Sweep

    with StopFlag() as stop:
        if processes < 1:
            raise UsageError(f"the processes of a sweep are at least 1, not {processes}")
        path = find_recipe(os.fspath(recipe))
        folder = Path(out) if out is not None else Path("runs") / f"{path.stem}-sweep"
        space = parse_space(grid or {}, ranges or {}, trials=trials, seeds=seeds)
        found = Sweep(
            path,
            folder,
            Builder(registry or installed()),
            overrides=list(set),
            plugins=plugins,
            processes=processes,
            say=log.info,
        )
        whole = (run_search if trials else run_grid)(found, space, stop, os.environ)
        found.write()
        if not whole:
            raise Stopped(f"stopped by {stop.by or 'a signal'}; {folder / REPORT} has what there is")
        return found.document()


def bench(
    *models: PathLike,
    sizes: Sequence[tuple[int, int]] = ((128, 128),),
    precisions: Sequence[str] = ("float32",),
    forms: Sequence[str] = ("eager",),
    device: str = "auto",
    threads: int = 0,
    batch: int = 1,
    seconds: float = 2.0,
    scale: float | None = None,
    set: Sequence[str] = (),
    memory: bool = True,
    plugins: Sequence[str] = (),
    registry: Registry | None = None,
) -> dict[str, Any]:
    """Measure networks side by side: files, run directories or names of architectures; return `srkit bench --json`.

    Sizes are of LR, (height, width); precisions "float32", "bfloat16", "float16"; forms "eager", "compiled", "folded".
    Of one size all are called in turns, each for so many `seconds`, and `ratio` says how many times as fast as its
    first row one is. `set` and `scale` are of the networks that are named. Peak memory is that of the tensors on a GPU,
    and on a CPU that of a process apart for each row, which is given the `plugins` by -p. Raises UsageError for what
    cannot be meant, InputRejected for files; what cannot be computed is a row with its reason.
    """
    from srkit.engine.builder import Builder
    from srkit.engine.speed.bench import Words
    from srkit.engine.speed.bench import bench as measure

    words = Words(
        sizes=sizes,
        precisions=precisions,
        forms=forms,
        device=device,
        threads=threads,
        batch=batch,
        seconds=seconds,
        scale=scale,
        overrides=set,
        memory=memory,
        plugins=plugins,
    )
    return measure([os.fspath(model) for model in models], Builder(registry or installed()), words)


def report(*runs: PathLike, out: PathLike | None = None) -> Path:
    """Write a page on runs, each a run directory or a file in one, and return its path: one HTML file.

    It is `report.html` in the directory of a single run where no `out` is given. Raises InputRejected for what is no
    run, UsageError where several runs have no `out`, RunFailed where the page cannot be written.
    """
    from srkit import files
    from srkit.reports.page import page
    from srkit.reports.runs import named_runs
    from srkit.runs.history import find_run

    places = [find_run(Path(path)) for path in runs]
    if out is None and len({place.resolve() for place in places}) != 1:
        raise UsageError("a report on several runs needs a place: -o FILE, or out=FILE from Python")
    path = places[0] / REPORT if out is None else Path(out)
    text = page(named_runs(places), installed())
    try:
        files.write_file(path, text.encode("utf-8", "backslashreplace"))
    except OSError as error:
        raise RunFailed(f"{path}: {error.strerror}") from None
    return path


def load(path: PathLike) -> nn.Module:
    """Return the network of a self-describing file or a run directory, in eval mode on the CPU.

    Raises InputRejected where the file is damaged or does not describe itself.
    """
    from srkit.engine.builder import Builder
    from srkit.engine.weights.model import read_model

    if not isinstance(path, str | os.PathLike):
        raise UsageError(f"load takes the path of a file or a run directory, not {type(path).__qualname__}")
    return read_model(Path(path), Builder(installed())).network


def upscale(
    image: NDArray[np.uint8] | NDArray[np.uint16],
    network: nn.Module,
    *,
    scale: float | None = None,
    size: tuple[int, int] | None = None,
    forward: Literal["whole", "chop", "tiles"] | None = None,
    tile: int | None = None,
    memory: int | None = None,
    precision: Literal["float32", "bfloat16", "float16"] = "float32",
) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """Return an image, [height, width, 3] RGB, enlarged by a network on the network's device; the dtype is kept.

    A network that serves several scales is told how much larger SR is by `scale`, or by `size`, (height, width); the
    others have their own. `forward` is that of `evaluate`. Where it is not given, images of more than a million pixels
    go in parts where these make up the whole image's output: in tiles through a network whose component states that it
    is `tileable`, in strips through one that offers stages. `tile`, a side in LR pixels, and `memory`, the bytes that
    this process may take (or the tensors on a GPU), ask for less, and a warning says where the parts do not make up the
    whole. In another `precision` than float32, parts that are not finite are computed again. Raises ValueError for what
    is no image, and where the network's output is not finite; UsageError for a scale that the network does not serve.
    """
    import attrs

    from srkit.engine.scoring import evaluate as engine
    from srkit.engine.scoring.tiler import Tiler
    from srkit.protocol import PAPER

    _refuse_no_network(network)
    engine.refuse_no_image(image)
    tiler = Tiler(
        network,
        engine.device_of(network),
        _facts(network),
        tile=tile,
        memory=memory,
        approximate=True,
    )
    method = attrs.evolve(PAPER, forward=forward or "whole", precision=precision)
    return tiler.upscale(image, _size(image, network, scale, size), method)


def _facts(network: nn.Module) -> Mapping[str, Any]:
    """Return what the component that a network is of states of it, and what attributes it has in place of facts."""
    from srkit.plugin.component import Component

    target = f"{type(network).__module__}:{type(network).__qualname__}"
    entries = [entry for entry in installed().of_kind("architecture") if entry.component.target == target]
    component = entries[0].component if entries else Component("architecture", "unnamed", target)
    return component.facts_of(network)


def _size(
    image: NDArray[Any], network: nn.Module, scale: float | None, size: tuple[int, int] | None
) -> tuple[int, int] | None:
    """Return the size of SR that a network is asked for; None is its own. Raises UsageError where it serves no such."""
    from srkit.engine.networks.calling import needs_size, scaled, scales_of
    from srkit.engine.scoring import evaluate as engine

    height, width = image.shape[:2]
    if scale is None and size is None:
        if needs_size(network):
            raise UsageError("the network serves several scales: give scale, or size")
        return None
    if scale is not None and size is not None:
        raise UsageError("scale says how much larger SR is, and size how large: give one of them")
    size = size or (scaled(height, scale or 1), scaled(width, scale or 1))
    served = scales_of(network, _facts(network), engine.scale_of(network) or 1)
    for one in {scale} if scale is not None else {size[0] / height, size[1] / width}:
        if served.fault(one):
            raise UsageError(f"the network {served.fault(one)}")
    return size


def _refuse_no_network(network: object) -> None:
    from torch import nn

    if isinstance(network, str | os.PathLike):
        raise UsageError(f"a network is needed, not its path: srkit.load({os.fspath(network)!r})")
    if not isinstance(network, nn.Module):
        raise UsageError(f"a network is a torch.nn.Module, not {type(network).__qualname__}")


def evaluate(
    networks: Mapping[str, nn.Module],
    data: PathLike | Dataset | Mapping[str, PathLike | Dataset],
    *,
    scale: float | None = None,
    images: Mapping[str, PathLike] | None = None,
    metrics: Sequence[str | Mapping[str, Any]] = ("psnr_y", "ssim_y"),
    reference: bool = True,
    protocol: str = "paper",
    forward: Literal["whole", "chop", "tiles"] = "whole",
    ensemble: Literal["none", "x8", "median"] = "none",
    tile: int | None = None,
    memory: int | None = None,
    precision: Literal["float32", "bfloat16", "float16"] = "float32",
    registry: Registry | None = None,
) -> list[dict[str, Any]]:
    """Return a table for each set of images: a row for each network by name, and bicubic's.

    `data` is a folder or any dataset object (`srkit.create("dataset", ...)`), or several by name. The scale is the
    networks' own; without any, or for those that serve several, give it. `images` are folders of SR files that other
    programs have made, by the names of their rows. A metric is its name, or a table as in a recipe, {"type": "lpips",
    "weights": "alexnet-owt-7be5be79.pth"}. LR is what stands beside HR, or else MATLAB's bicubic. Without a
    `reference` there is no HR: `data` are LR images, and all `metrics` look at SR alone. `protocol` is "paper" or
    "blog"; `forward` takes an image as a whole, in quarters as EDSR's --chop, or in tiles; with `ensemble`
    "x8" the output is the mean over the eight symmetries, with "median" their median. `tile`, `memory` and `precision`
    (of the networks, not of bicubic) are those of `upscale`: where parts do not make up the whole image's output of a
    network, all networks take tiles; a warning says so, and so does the protocol. The rows of the second network and
    those behind it have their difference to the first one's, with a 95 % interval. Means and differences are of the
    images whose scores are finite; the others are named under "exact". The tables are those of `srkit eval --table
    json`. Raises InputRejected for images, UsageError for what cannot be meant.
    """
    import attrs

    from srkit.engine.builder import Builder
    from srkit.engine.scoring.comparing import Comparison
    from srkit.engine.scoring.metrics import make_metrics
    from srkit.protocol import find_method
    from srkit.recipe.reading import read_part

    if not isinstance(networks, Mapping):
        raise UsageError("networks are given by name: evaluate({'mine': network}, ...)")
    for network in networks.values():
        _refuse_no_network(network)
    if isinstance(metrics, str):
        raise UsageError(f"metrics are a list of names: metrics=[{metrics!r}]")
    builder = Builder(registry or installed())
    comparison = Comparison.of(
        builder,
        {name: (network, _facts(network)) for name, network in networks.items()},
        images or {},
        scale,
        make_metrics(builder, [read_part(builder.registry, "metric", given) for given in metrics]),
        attrs.evolve(find_method(protocol), forward=forward, ensemble=ensemble, precision=precision),
        reference=reference,
        tile=tile,
        memory=memory,
    )
    tables = []
    for name, given in _sets(data).items():
        table = comparison.table(name, _dataset(builder.registry, given))
        if table is None:
            raise InputRejected(name if _is_dataset(given) else given, "there are no images")
        tables.append(table)
    if not tables:
        raise UsageError("there is nothing to evaluate on")
    return tables


def _sets(data: PathLike | Dataset | Mapping[str, PathLike | Dataset]) -> dict[str, Any]:
    """Return what is scored on, by name."""
    if isinstance(data, Mapping):
        return dict(data)
    return {"data" if _is_dataset(data) else Path(os.fspath(data)).resolve().name: data}  # type: ignore[arg-type]


def _dataset(registry: Registry, given: Any) -> Any:
    if not _is_dataset(given):
        return registry.create("dataset", "folder", path=os.fspath(given))
    lacking = [name for name in ("read", "size", "name", "lr", "fingerprint") if not hasattr(given, name)]
    if lacking:
        raise UsageError(f"data is a folder or a dataset, and {type(given).__name__} has no {', no '.join(lacking)}")
    return given


def _is_dataset(given: object) -> bool:
    return not isinstance(given, str | os.PathLike)
