"""Files of weights read, whoever wrote them: which tensors are the network's, and by what names."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import safetensors
import safetensors.torch
import torch
from torch import Tensor

from srkit.engine.weights import vetting
from srkit.engine.weights.pickles import Refusal, shown
from srkit.errors import InputRejected, UsageError, describe, did_you_mean, escaped

# What state dicts are found under, moving averages before what they are of.
WRAPPERS = (
    *("params_ema", "params-ema", "state_dict_ema", "model_ema", "ema", "shadow"),
    *("params", "state_dict", "model_state_dict", "model", "net", "module"),
)
PREFIXES = ("module.", "netG.", "_orig_mod.")
# Elsewhere these are a network's own: ESRGAN's first files begin with "model." throughout.
LIGHTNING_PREFIXES = ("model.", "net.")

DEEPEST = 3  # dictionaries around a state dict, or prefixes one after the other
AVERAGE = re.compile(r"[-_.]ema$|^ema[-_.]", re.IGNORECASE)  # netG_ema is the moving average of netG
AVERAGED = re.compile(r"(^|[-_.])(ema|swa|shadow|averaged?)([-_.]|$)", re.IGNORECASE)

MOST_NETWORKS = 32  # of a file that are looked at where the one that was taken does not fit
MOST = 8  # names that a message lists
NO_TENSORS = "holds something other than a state dict of tensors"


@attrs.frozen(eq=False)
class Weights(Mapping[str, Tensor]):
    """The tensors of a file by name, and what was taken off to reach them: "state_dict", "module.".

    `others` has the shapes of the file's other networks, by the key that names each.
    """

    tensors: Mapping[str, Tensor]
    wrapper: str = ""
    prefix: str = ""
    others: Mapping[str, Mapping[str, Sequence[int]]] = attrs.field(factory=dict)

    def __getitem__(self, name: str) -> Tensor:
        """Return a tensor by its name."""
        return self.tensors[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.tensors)

    def __len__(self) -> int:
        """Return the number of tensors."""
        return len(self.tensors)


def read_metadata(path: Path) -> dict[str, Any] | None:
    """Return what a safetensors file says of its network, or None where it says nothing. Raises InputRejected."""
    metadata = _read_metadata(path)
    return None if metadata is None else {key: value for key, value in metadata.items() if key != "sha256"}


def _read_metadata(path: Path) -> dict[str, Any] | None:
    try:
        vetting.vet_safetensors(path)
        with safetensors.safe_open(path, framework="pt") as file:
            text = (file.metadata() or {}).get("srkit")
        return None if text is None else dict(json.loads(text))
    except Exception as error:  # a hostile or cut file makes its readers raise almost anything
        raise _rejected(path, "is no whole safetensors file", error) from None


def read_weights(path: Path, *, key: str = "") -> Weights:
    """Return the tensors of a .safetensors, .pt, .pth or .ckpt file by name, the usual wrappers and prefixes taken off.

    `key` says where they are in a file of several networks: "netG", "state_dict.netG". A file that describes itself is
    taken as it is. Pickles are vetted and then read by torch's restricted reader; about as much memory is taken as the
    file is long. Raises InputRejected for anything but a file of tensors without NaN, UsageError for a key of nothing,
    and for one of a file that describes itself.
    """
    if not path.is_file():
        raise InputRejected(path, "is a folder" if path.is_dir() else "there is no such file")
    metadata = _read_metadata(path) if path.suffix == ".safetensors" else None
    described = metadata is not None
    if described and key:
        raise UsageError(f"{path} is a file of srkit's, which holds one network and has no keys: leave out '{key}'")
    found = _load(path)
    if metadata is not None:
        _refuse_changed(path, found, metadata)
    lightning = not key and (path.suffix == ".ckpt" or "pytorch-lightning_version" in found)
    tensors, wrapper = _pick(path, found, key) if key else _average(*_unwrap(path, found))
    prefixes = (*PREFIXES, *(LIGHTNING_PREFIXES if lightning else ()))
    prefix = "" if described else _shared_prefix(tensors, prefixes)
    weights = {name.removeprefix(prefix): tensor.detach() for name, tensor in tensors.items()}
    _refuse_nan(path, weights)
    return Weights(weights, wrapper, prefix, dict(_others(found, wrapper, prefixes)))


def digest(tensors: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> str:
    """Return the sha256, in hexadecimal, of tensors with their names, dtypes and shapes, and of what is said of them.

    A "sha256" in the metadata is left out: it is this one.
    """
    described = {key: value for key, value in metadata.items() if key != "sha256"}
    found = hashlib.sha256(json.dumps(described, sort_keys=True).encode())
    for name in sorted(tensors):
        tensor = tensors[name].detach().to("cpu").contiguous()
        found.update(json.dumps([name, str(tensor.dtype), list(tensor.shape)]).encode())
        found.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()


def _refuse_changed(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> None:
    """Raise InputRejected where a file is not what was written. Files of srkit 0.1 have no sha256."""
    if metadata.get("sha256") not in (None, digest(tensors, metadata)):
        raise InputRejected(path, "is damaged: what it holds is not what its sha256 was made of")


def _load(path: Path) -> dict[Any, Any]:
    """Return what a file holds, a dictionary. Raises InputRejected."""
    wrong = "holds no weights that can be read"
    try:
        with open(path, "rb") as file:
            start = file.read(64)
        if path.suffix == ".safetensors" or start[8:9] == b"{":
            wrong = "is no whole safetensors file"
            vetting.vet_safetensors(path)
            return dict(safetensors.torch.load_file(path))
        if start.startswith(b"PK\x03\x04"):
            vetting.vet_zip(path)
        elif start.startswith(b"\x80"):
            vetting.vet_pickle(path)
        else:
            raise vetting.not_weights(start)
        found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a hostile or cut file makes its readers raise almost anything
        raise _rejected(path, wrong, error) from None
    if not isinstance(found, dict):
        raise InputRejected(path, NO_TENSORS)
    return found


def _rejected(path: Path, wrong: str, error: Exception) -> InputRejected:
    if isinstance(error, OSError) and error.strerror:
        return InputRejected(path, f"cannot be read: {error.strerror}")
    if isinstance(error, Refusal):
        return InputRejected(path, f"{wrong}: {error}")
    reason = describe(error).partition(". ")[0]  # torch goes on to say how to read it nevertheless
    return InputRejected(path, f"{wrong}: it is damaged: {escaped(reason)}")


def _unwrap(path: Path, found: Mapping[Any, Any]) -> tuple[dict[str, Tensor], str]:
    """Return the state dict within the usual wrappers, or within the only one there is, and their names."""
    wrappers: list[str] = []
    for _ in range(DEEPEST):
        names = _networks(found)
        usual = [name for name in WRAPPERS if name in names]
        if not names:
            break
        if not usual:
            names = [name for name in names if not any(is_average(other, name) for other in names)]
        if not usual and (len(names) > 1 or _tensors(found)):
            raise InputRejected(path, _several(_networks(found)))
        averages = [name for name in names if AVERAGED.search(name)]
        wrappers.append(averages[0] if len(averages) == 1 else (usual or names)[0])
        found = found[wrappers[-1]]
    tensors = _tensors(found)
    if not tensors or len(tensors) < sum(isinstance(value, Tensor) for value in found.values()):
        raise InputRejected(path, NO_TENSORS)
    return tensors, ".".join(wrappers)


def is_average(name: str, of: str) -> bool:
    """Say whether one name is that of the moving average of another: "netG_ema" of "netG"."""
    return name != of and AVERAGE.sub("", name) == of


def _average(tensors: dict[str, Tensor], wrapper: str) -> tuple[dict[str, Tensor], str]:
    """Return the moving average of a state dict that holds a network and its average, "net.a" and "net_ema.a".

    Counts beside them are dropped, as torch's AveragedModel and others keep them: "n_averaged", "step".
    """
    counts = {n for n, t in tensors.items() if "." not in n and t.numel() == 1 and not t.is_floating_point()}
    parts: dict[str, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        if name not in counts:
            module, _, rest = name.partition(".")
            parts.setdefault(module, {})[rest] = tensor
    if counts and list(parts) == ["module"]:
        return {name: tensor for name, tensor in tensors.items() if name not in counts}, wrapper
    averages = [module for module in parts if AVERAGED.search(module)]
    if len(parts) == 2 and len(averages) == 1:
        first, second = parts.values()
        if first.keys() == second.keys() and "" not in first:
            return parts[averages[0]], ".".join(filter(None, [wrapper, averages[0]]))
    return tensors, wrapper


def _others(
    found: Mapping[Any, Any], taken: str, prefixes: Sequence[str]
) -> Iterator[tuple[str, dict[str, Sequence[int]]]]:
    """Yield the key and the shapes of each network of a file but the one that was taken."""
    places: list[tuple[str, Any]] = [("", found)]
    seen: set[int] = set()
    for key, value in places:  # which grows
        if len(seen) > MOST_NETWORKS or not isinstance(value, dict) or id(value) in seen:
            continue
        seen.add(id(value))
        tensors = _tensors(value)
        if tensors and key not in ("", taken):
            prefix = _shared_prefix(tensors, prefixes)
            yield key, {name.removeprefix(prefix): tuple(tensor.shape) for name, tensor in tensors.items()}
        if key.count(".") < DEEPEST - 1:
            inner = [(name, value[name]) for name in value if isinstance(name, str) and isinstance(value[name], dict)]
            places += [(f"{key}.{name}".removeprefix("."), member) for name, member in inner[:MOST_NETWORKS]]


def _networks(found: Mapping[Any, Any]) -> list[str]:
    """Return the names under which there are tensors, or the usual wrappers of some."""
    known: dict[tuple[int, int], bool] = {}

    def leads_to_tensors(value: Any, depth: int = DEEPEST) -> bool:
        if not isinstance(value, dict) or not depth:
            return False
        place = id(value), depth
        if place not in known:  # a hostile file has one dictionary in a thousand places
            within = (leads_to_tensors(value.get(name), depth - 1) for name in WRAPPERS)
            known[place] = bool(_tensors(value)) or any(within)
        return known[place]

    return [name for name, value in found.items() if isinstance(name, str) and leads_to_tensors(value)]


def _tensors(found: Mapping[Any, Any]) -> dict[str, Tensor]:
    return {name: value for name, value in found.items() if isinstance(name, str) and isinstance(value, Tensor)}


def _several(names: Sequence[str]) -> str:
    names = sorted(map(shown, names))
    told = ", ".join(names[:MOST]) + (f" and {len(names) - MOST} more" if len(names) > MOST else "")
    by_name = "name the one that enlarges by --key, in a recipe by start.key"
    return f"holds several networks, or one beside other tensors: {told}; {by_name}"


def _pick(path: Path, found: Mapping[Any, Any], key: str) -> tuple[dict[str, Tensor], str]:
    """Return the state dict that a key names, or the part of one whose names begin with it, and where it was."""
    inner = _at(found, key)
    if inner is not None:
        tensors, wrapper = _unwrap(path, inner)
        return tensors, ".".join(filter(None, [key, wrapper]))
    first, _, rest = key.partition(".")
    if rest and isinstance(found.get(first), dict):
        tensors, wrapper = _pick(path, found[first], rest)
        return tensors, f"{first}.{wrapper}"
    try:
        tensors, wrapper = _unwrap(path, found)
    except InputRejected:
        tensors, wrapper = {}, ""
    part = {name.removeprefix(f"{key}."): tensor for name, tensor in tensors.items() if name.startswith(f"{key}.")}
    if not part:
        names = sorted(_networks(found) or {name.partition(".")[0] for name in tensors})[: 4 * MOST]
        raise UsageError(f"{path} has no network '{shown(key)}'{did_you_mean(key, map(shown, names))}")
    return part, ".".join(filter(None, [wrapper, key]))


def _at(found: Mapping[Any, Any], key: str) -> Mapping[Any, Any] | None:
    """Return the dictionary that a key names: "netG", or "model.netG" for one within another."""
    if isinstance(found.get(key), dict):
        inner: Mapping[Any, Any] = found[key]
        return inner
    first, _, rest = key.partition(".")
    return _at(found[first], rest) if rest and isinstance(found.get(first), dict) else None


def _shared_prefix(names: Collection[str], prefixes: Sequence[str]) -> str:
    """Return those of the prefixes, one after the other, that every name begins with, and goes on after."""
    shared = ""
    for _ in range(DEEPEST):
        for prefix in prefixes:
            if all(name.startswith(shared + prefix) and name != shared + prefix for name in names):
                shared += prefix
                break
    return shared


def _refuse_nan(path: Path, weights: Mapping[str, Tensor]) -> None:
    """Raise InputRejected where there is NaN. Infinities may be meant: masks of attention have them."""
    spoilt = [name for name, tensor in weights.items() if tensor.is_floating_point() and bool(tensor.isnan().any())]
    if spoilt:
        count = f"{len(spoilt)} of its {len(weights)} tensors hold NaN"
        raise InputRejected(path, f"{count}, {shown(spoilt[0])} first: the training that made it had diverged")
