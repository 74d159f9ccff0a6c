"""A recipe from the option file of BasicSR, traiNNer-redux or neosr.

Only what means the same is taken over. Every other key becomes a comment. Defaults of those projects are written out
where srkit's differ, as far as this file names the component.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import tomli_w

from srkit.cli.counterparts import (
    MAKES_LR,
    NETWORKS,
    OPTIMIZERS,
    adversarial,
    loss_of,
    metric_of,
    reason,
    renamed,
)
from srkit.cli.options import Options, dotted, shown
from srkit.errors import UsageError


def recipe_of(options: Options, given: Collection[str]) -> dict[str, Any]:
    """Return a recipe as a tree; `given` are keys that the user sets, so that they need no counterpart.

    Raises UsageError where a part that a recipe must have has no counterpart and is not given.
    """
    recipe: dict[str, Any] = {"title": options.text("name") or options.name}
    scale = options.whole("scale")
    if scale is None:
        raise options.error("has no scale; is it an option file of BasicSR, traiNNer-redux or neosr?")
    recipe["scale"] = scale
    if (seed := options.whole("manual_seed")) is not None:
        recipe["seed"] = seed
    if start := _start(options):
        recipe["start"] = start
    if "architecture" not in given:
        recipe["architecture"] = _architecture(options, scale)
    if "loss" not in given:
        recipe["loss"] = _losses(options)
    recipe["data"] = _data(options, scale)
    if validate := _validate(options):
        recipe["validate"] = validate
    if metrics := _metrics(options, scale):
        recipe["metric"] = metrics
    if "optimizer" not in given:
        recipe["optimizer"] = _optimizer(options, "optim_g")
    if "schedule" not in given:
        recipe["schedule"] = _schedule(options, recipe.get("optimizer", {}))
    recipe["train"] = _train(options)
    return recipe


def text_of(recipe: Mapping[str, Any], options: Options) -> str:
    """Return the recipe as TOML, with a comment for each key that was not taken."""
    comments = [f"#   {dotted(path)} = {shown(value)}{_because(path)}" for path, value in options.left.items()]
    head = f"# From {options.name}, by `srkit new recipe`. Check it: srkit check FILE\n\n"
    if not comments:
        return head + tomli_w.dumps(recipe)
    title = f"# Keys of {options.name} without a counterpart, which this recipe does not follow:"
    return "\n".join([head + tomli_w.dumps(recipe), title, *comments, ""])


def _because(path: tuple[str | int, ...]) -> str:
    why = reason(path)
    return f"  ({why})" if why else ""


def _missing(options: Options, part: str, what: str) -> UsageError:
    return options.error(f"{what} has no counterpart; choose one: --set {part}=NAME (`srkit list {part}`)")


def _architecture(options: Options, scale: int) -> dict[str, Any]:
    name = options.get("network_g", "type")
    network = NETWORKS.get(str(name))
    if network is None or (network.scales and scale not in network.scales):
        raise _missing(options, "architecture", f"network_g.type {shown(name)}" if name else "a missing network_g")
    options.take("network_g", "type")
    options.drop("network_g", "num_in_ch", when=3)
    options.drop("network_g", "num_out_ch", when=3)
    options.drop("network_g", "in_chans", when=3)
    options.drop("network_g", "upscale", when=scale)
    for key, value in network.only.items():
        if options.get("network_g", key) not in (None, value):
            raise _missing(options, "architecture", f"network_g.{key} {shown(options.get('network_g', key))}")
        options.take("network_g", key)
    settings = renamed(options, ("network_g",), network.settings)
    for path in options.left:  # one more setting makes another network
        if path[0] == "network_g":
            raise _missing(options, "architecture", f"{dotted(path)} {shown(options.left[path])}")
    for key in network.needs:
        if network.settings[key] not in settings:
            raise _missing(options, "architecture", f"network_g.type {shown(name)} without {key}")
    return {"type": network.name, **network.defaults, **settings}


def _losses(options: Options) -> list[dict[str, Any]]:
    train = options.table("train")
    places: list[tuple[str | int, ...]] = [("train", key) for key in train if str(key).endswith("_opt")]
    listed = train.get("losses")
    places += [("train", "losses", i) for i in range(len(listed))] if isinstance(listed, list) else []
    found = []
    for place in places:
        if (loss := loss_of(options, place)) is not None:
            found.append(loss)
        elif (loss := adversarial(options, place)) is not None:
            found.append({**loss, "adversary": {"optimizer": _optimizer(options, "optim_d")}})
    if not found:
        raise _missing(options, "loss", "no loss of train")
    return found


def _optimizer(options: Options, key: str) -> dict[str, Any]:
    name = options.get("train", key, "type")
    optimizer = OPTIMIZERS.get(str(name).lower())
    if optimizer is None:
        raise _missing(options, "optimizer", f"train.{key}.type {shown(name)}")
    options.take("train", key, "type")
    settings = {name: name for name in ("betas", "eps", "momentum", "nesterov")}
    found: dict[str, Any] = {"type": optimizer}
    for setting in ("lr", "weight_decay"):
        if (value := options.number("train", key, setting)) is not None:
            found[setting] = value
    return {**found, **renamed(options, ("train", key), settings)}


def _schedule(options: Options, optimizer: Mapping[str, Any]) -> dict[str, Any]:
    place = ("train", "scheduler")
    name = str(options.get(*place, "type") or "").lower()
    warmup = options.get("train", "warmup_iter")
    found: dict[str, Any]
    if not name:
        found = {"type": "constant"}
    elif name == "multisteplr" and (milestones := options.take(*place, "milestones")):
        found = {"type": "multistep", "milestones": milestones, "gamma": options.number(*place, "gamma") or 0.1}
    elif name in ("cosineannealinglr", "truecosineannealinglr", "cosineannealing") and _whole_run(options, place):
        least = options.number(*place, "eta_min") or 0.0
        found = {"type": "cosine", "minimum": least / optimizer["lr"]} if optimizer.get("lr") else {"type": "cosine"}
        options.take(*place, "T_max")
    else:
        raise _missing(options, "schedule", f"train.scheduler.type {shown(options.get(*place, 'type'))}")
    options.take(*place, "type")
    if isinstance(warmup, int) and warmup > 0:
        found["warmup"] = options.take("train", "warmup_iter")
    options.drop("train", "warmup_iter", when=-1)
    options.drop("train", "warmup_iter", when=0)
    return found


def _whole_run(options: Options, place: tuple[str, ...]) -> bool:
    """Tell whether a cosine lasts as long as the run, as srkit's does."""
    steps = options.get("train", "total_iter") or options.get("logger", "total_iter")
    return bool(options.get(*place, "T_max") == steps)


def _data(options: Options, scale: int) -> dict[str, Any]:
    place = ("datasets", "train")
    dataset = _dataset(options, place)
    if dataset is None:
        raise options.error("has no datasets.train.dataroot_gt")
    data: dict[str, Any] = {"dataset": dataset, "augment": _augmentations(options, place)}
    gt, lq = options.whole(*place, "gt_size"), options.whole(*place, "lq_size")
    patch = lq or options.whole(*place, "patch_size")
    if patch is None and gt is not None:
        if gt % scale:
            raise options.error(f"datasets.train.gt_size {gt} is no multiple of the scale {scale}")
        patch = gt // scale
    if patch is not None:
        data["patch"] = patch
    batch = options.whole(*place, "batch_size_per_gpu") or options.whole(*place, "batch_size")
    gpus = options.get("num_gpu")
    parts = options.get(*place, "accum_iter") or options.get(*place, "accumulate") or 1
    if batch is not None:
        several = gpus if isinstance(gpus, int) and gpus > 1 else 1
        data["batch"] = batch * several * (parts if isinstance(parts, int) else 1)
    return data


def _dataset(options: Options, place: tuple[str, ...]) -> dict[str, Any] | None:
    """Return the images at a place of the options, None where it names none."""
    highs, lows = (_paths(options.get(*place, key)) for key in ("dataroot_gt", "dataroot_lq"))
    if not highs or (lows and len(lows) != len(highs)):
        return None
    packed = options.get(*place, "io_backend", "type") == "lmdb"
    for key in ("dataroot_gt", "dataroot_lq", "type"):
        if str(options.get(*place, key)).lower() not in MAKES_LR:
            options.take(*place, key)
    options.take(*place, "io_backend", "type")
    template = options.text(*place, "filename_tmpl")
    found: list[dict[str, Any]] = []
    for index, high in enumerate(highs):
        one = {"type": "lmdb", "path": high} if packed else {"type": "folder", "hr": high}
        if lows:
            one["lr"] = lows[index]
            if template not in ("", "{}") and not packed:
                one["lr_name"] = template.replace("{}", "{name}")
        found.append(one)
    return found[0] if len(found) == 1 else {"type": "mix", "datasets": found}


def _paths(value: Any) -> list[str]:
    return [str(path) for path in (value if isinstance(value, list) else [value]) if path]


def _augmentations(options: Options, place: tuple[str, ...]) -> list[str]:
    """BasicSR's rotation is a vertical flip and a quarter turn, each for half of the samples."""
    flip = options.take(*place, "use_hflip") or options.take(*place, "use_flip")
    return [*(["hflip"] if flip else []), *(["vflip", "rot90"] if options.take(*place, "use_rot") else [])]


def _validate(options: Options) -> list[dict[str, Any]]:
    if options.get("val", "val_enabled") is False:
        options.take("val", "val_enabled")
        return []
    options.drop("val", "val_enabled", when=True)
    found, names = [], set()
    for key in options.table("datasets"):
        dataset = _dataset(options, ("datasets", key)) if str(key).split("_")[0] == "val" else None
        if dataset is not None:
            name = options.text("datasets", key, "name")
            name = name if name and name not in names else str(key)
            names.add(name)
            found.append({"name": name, "dataset": dataset})
    return found


def _metrics(options: Options, scale: int) -> list[str]:
    found = [metric_of(options, ("val", "metrics", key), scale) for key in options.table("val", "metrics")]
    return list(dict.fromkeys(metric for metric in found if metric))


def _start(options: Options) -> dict[str, Any]:
    weights = options.text("path", "pretrain_network_g")
    if not weights:
        return {}
    options.drop("path", "strict_load_g", when=True)
    key = options.text("path", "param_key_g")
    return {"weights": weights, **({"key": key} if key else {})}


def _train(options: Options) -> dict[str, Any]:
    steps = options.whole("train", "total_iter") or options.whole("logger", "total_iter")
    if steps is None:
        raise options.error("has no train.total_iter")
    train: dict[str, Any] = {"steps": steps}
    wide = options.take("amp_bf16") or options.take("bfloat16")
    if options.take("use_amp"):
        train["precision"] = "bfloat16" if wide else "float16"
    average = options.number("train", "ema_decay") or options.number("train", "ema")
    if average is not None and average > 0:
        train["ema"] = average
    for key, names in {"channels_last": ("use_channels_last",), "compile": ("use_compile", "compile")}.items():
        for name in names:
            if isinstance(options.get(name), bool):
                train[key] = options.take(name)
    place = ("datasets", "train")
    parts = options.whole(*place, "accum_iter") or options.whole(*place, "accumulate")
    if parts is not None and parts > 1:
        train["accumulate"] = parts
    intervals = {
        "log_every": ("logger", "print_freq"),
        "validate_every": ("val", "val_freq"),
        "checkpoint_every": ("logger", "save_checkpoint_freq"),
    }
    for key, path in intervals.items():
        if (every := options.whole(*path)) is not None:
            train[key] = every
    options.drop("train", "grad_clip", when=False)
    return train
