"""A pickle walked without making any of its objects: which tensors it claims, and how much memory they would take.

torch's restricted reader runs no code, but a file of a kilobyte can make it ask for a terabyte. What has passed here
needs no more memory than its file is long.
"""

from __future__ import annotations

import math
import pickletools
from collections import OrderedDict
from typing import IO, Any

import attrs
import torch

from srkit.errors import escaped

MOST_STEPS = 1_000_000  # of a pickle; a tensor takes 35, and an object of one byte may take 64 in memory
SLACK = 1 << 20  # bytes that tensors may claim beyond their file's: views of one another

STORAGES = {
    "torch BFloat16Storage": torch.bfloat16,
    "torch BoolStorage": torch.bool,
    "torch ByteStorage": torch.uint8,
    "torch CharStorage": torch.int8,
    "torch ComplexDoubleStorage": torch.complex128,
    "torch ComplexFloatStorage": torch.complex64,
    "torch DoubleStorage": torch.float64,
    "torch FloatStorage": torch.float32,
    "torch HalfStorage": torch.float16,
    "torch IntStorage": torch.int32,
    "torch LongStorage": torch.int64,
    "torch ShortStorage": torch.int16,
    "torch.storage UntypedStorage": torch.uint8,
}
# What a pickle may call, all of it on the list of torch's restricted reader. The rest of that list is left out: it
# makes what is no plain tensor, or takes any amount of memory.
CALLS = frozenset(
    {
        "__builtin__ complex",
        "__builtin__ set",
        "_codecs encode",
        "collections Counter",
        "collections OrderedDict",
        "torch Size",
        "torch device",
        "torch._utils _rebuild_parameter",
        "torch._utils _rebuild_tensor",
        "torch._utils _rebuild_tensor_v2",
        "torch._utils _rebuild_tensor_v3",
    }
)
OTHER_TENSORS = {
    "torch._utils _rebuild_meta_tensor_no_storage": "a meta tensor, which has no values",
    "torch._utils _rebuild_nested_tensor": "a nested tensor",
    "torch._utils _rebuild_qtensor": "a quantised tensor",
    "torch._utils _rebuild_sparse_tensor": "a sparse tensor",
}


class Refusal(ValueError):
    """Says in a sentence why a file is not read."""


@attrs.frozen
class Named:
    """A global that a pickle may name, "torch FloatStorage", and what stands for the values made by those."""

    name: str


@attrs.frozen
class Storage:
    """A storage that a pickle claims."""

    key: str
    dtype: torch.dtype
    bytes: int


@attrs.frozen
class View:
    """A tensor that a pickle claims."""

    storage: str
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]
    itemsize: int

    @property
    def bytes(self) -> int:
        """How many bytes its values take."""
        return math.prod(self.size) * self.itemsize


class Claims:
    """The storages, bytes by key, and the tensors that a file's pickles claim."""

    def __init__(self) -> None:
        self.storages: dict[str, int] = {}
        self.views: set[View] = set()
        self._steps = 0

    def vet(self, size: int) -> None:
        """Raise Refusal where more is claimed than a file of that many bytes can hold."""
        for claimed in (sum(self.storages.values()), sum(view.bytes for view in self.views)):
            if claimed > size + SLACK:
                raise Refusal(f"its tensors claim {claimed:,} bytes of a file of {size:,}")

    def walk(self, stream: IO[bytes]) -> Any:
        """Walk one pickle and return what it holds; tensors and what is called are stood for.

        Takes what torch's restricted reader takes, and less. Raises Refusal; for a damaged pickle anything.
        """
        stack: list[Any] = []
        marks: list[list[Any]] = []
        memo: dict[int, Any] = {}
        argument: Any
        for opcode, argument, _ in pickletools.genops(stream):
            self._spend(1)
            match opcode.name:
                case "PROTO" if argument == 2:
                    pass
                case "PROTO":
                    raise Refusal(f"its pickle has protocol {argument}, and torch.save's has 2; save it by torch.save")
                case "STOP":
                    return stack.pop()
                case "GLOBAL":
                    stack.append(_global(argument))
                case "NONE" | "NEWTRUE" | "NEWFALSE":
                    stack.append({"NONE": None, "NEWTRUE": True, "NEWFALSE": False}[opcode.name])
                case "BININT" | "BININT1" | "BININT2" | "BINFLOAT" | "BINUNICODE" | "LONG1":
                    stack.append(argument)
                case "SHORT_BINSTRING":
                    stack.append(argument.encode("latin-1").decode())
                case "EMPTY_DICT":
                    stack.append({})
                case "EMPTY_LIST":
                    stack.append([])
                case "EMPTY_TUPLE":
                    stack.append(())
                case "MARK":
                    marks.append(stack)
                    stack = []
                case "TUPLE":
                    items, stack = stack, marks.pop()
                    stack.append(tuple(items))
                case "TUPLE1" | "TUPLE2" | "TUPLE3":
                    length = int(opcode.name[-1])
                    stack[-length:] = [tuple(_last(stack, length))]
                case "APPEND":
                    item = stack.pop()
                    _of_type(stack[-1], list).append(item)
                case "APPENDS":
                    items, stack = stack, marks.pop()
                    _of_type(stack[-1], list).extend(items)
                case "SETITEM":
                    value, key = stack.pop(), stack.pop()
                    _of_type(stack[-1], dict, OrderedDict)[_key(key)] = value
                case "SETITEMS":
                    items, stack = stack, marks.pop()
                    target = _of_type(stack[-1], dict, OrderedDict)
                    target.update(zip(map(_key, items[::2]), items[1::2], strict=True))
                case "BINPUT" | "LONG_BINPUT":
                    memo[argument] = stack[-1]
                case "BINGET" | "LONG_BINGET":
                    stack.append(memo[argument])
                case "BINPERSID":
                    stack[-1] = self._storage(*stack[-1])
                case "REDUCE":
                    arguments = stack.pop()
                    stack[-1] = self._call(_of_type(stack[-1], Named).name, *_of_type(arguments, tuple))
                case "BUILD":
                    # Anything else could stand before a method of the dictionary.
                    if not stack.pop().keys() <= {"_metadata"}:
                        raise Refusal("it gives a dictionary attributes")
                    _of_type(stack[-1], OrderedDict)
                case _:
                    raise Refusal(f"its pickle has {opcode.name}, which torch.save does not write")
        raise Refusal("it is cut short")

    def _spend(self, steps: int) -> None:
        self._steps += steps
        if self._steps > MOST_STEPS:
            raise Refusal(f"its pickle takes more than {MOST_STEPS:,} steps")

    def _storage(self, what: str, kind: Named, key: str, location: str, numel: int, view: None = None) -> Storage:
        """Note a storage; `view` is of files before torch 0.4, and None since."""
        if what != "storage" or view is not None:
            raise Refusal("it is damaged, or older than torch 0.4")
        dtype = STORAGES[kind.name]
        storage = Storage(_of_type(key, str), dtype, _natural(numel) * dtype.itemsize)
        _of_type(location, str)
        if self.storages.setdefault(key, storage.bytes) != storage.bytes:
            raise Refusal(f"it is damaged: storage {shown(key)} has two lengths")
        return storage

    def _call(self, name: str, *arguments: Any) -> Any:
        """Return what stands for the value of a call."""
        match name, arguments:
            case "torch._utils _rebuild_tensor", (storage, offset, size, stride):
                return self._view(storage, offset, size, stride)
            case "torch._utils _rebuild_tensor_v2", (storage, offset, size, stride, bool(), hooks, *_) if not hooks:
                return self._view(storage, offset, size, stride)
            case "torch._utils _rebuild_tensor_v3", (storage, offset, size, stride, bool(), hooks, Named(), *_) if (
                not hooks
            ):
                dtype = _dtype(arguments[6].name)
                return self._view(attrs.evolve(storage, dtype=dtype), offset, size, stride)
            case "torch._utils _rebuild_parameter", (View() as view, bool(), hooks) if not hooks:
                return view
            case "collections OrderedDict", ():
                return OrderedDict()
            case "collections OrderedDict" | "collections Counter" | "__builtin__ set", (list() | dict() as items,):
                # A copy: made again and again of one list, they would take any amount of memory.
                self._spend(len(items))
                if name == "collections OrderedDict":
                    return OrderedDict((_key(key), value) for key, value in items)
                return {_key(item): None for item in items}
            case "torch Size", (tuple() as sizes,):
                self._spend(len(sizes))
                return tuple(map(_natural, sizes))
            case "_codecs encode", (str() as text, "latin1" | "latin-1"):  # bytes
                self._spend(len(text))
                return Named("bytes")
            case ("torch device", (str(),) | (str(), int())) | ("__builtin__ complex", (float(), float())):
                return Named(name)
        raise Refusal(f"it calls {name.replace(' ', '.')} as torch.save never does")

    def _view(self, storage: Storage, offset: int, size: tuple[int, ...], stride: tuple[int, ...]) -> View:
        """Note a tensor. Raises Refusal unless all of it lies in its storage."""
        view = View(
            _of_type(storage, Storage).key,
            _natural(offset),
            tuple(map(_natural, _of_type(size, tuple))),
            tuple(map(_natural, _of_type(stride, tuple))),
            storage.dtype.itemsize,
        )
        if len(size) != len(stride) or len(size) > 64:  # dimensions, of which torch has at most 64
            raise Refusal("it is damaged: a tensor has not as many strides as sides")
        last = offset + sum((side - 1) * step for side, step in zip(size, stride, strict=True))
        values = storage.bytes // view.itemsize
        if 0 not in size and (last >= values or math.prod(size) > values):
            raise Refusal(f"a tensor claims {math.prod(size):,} values of a storage of {values:,}")
        self.views.add(view)
        return view


def _global(name: str) -> Named:
    """Return a global, "module name", that tensors are made with. Raises Refusal for any other."""
    if name in OTHER_TENSORS:
        raise Refusal(f"it holds {OTHER_TENSORS[name]}")
    if name in STORAGES or name in CALLS or _dtype_or_none(name) is not None:
        return Named(name)
    what = "a whole pickled network" if name.startswith("torch.nn.modules.") else "code"
    named = shown(name.replace("__builtin__ ", "builtins ").replace(" ", "."))
    raise Refusal(f"it names {named}, which is {what}, and none is run; its maker can save the state dict alone")


def _dtype_or_none(name: str) -> torch.dtype | None:
    module, _, attribute = name.partition(" ")
    found = vars(torch).get(attribute) if module == "torch" else None
    return found if isinstance(found, torch.dtype) else None


def _dtype(name: str) -> torch.dtype:
    found = _dtype_or_none(name)
    if found is None:
        raise Refusal("it is damaged: a tensor's dtype is none")
    return found


def _key(value: Any) -> Any:
    """Return a dictionary's key. Raises Refusal for what takes long to hash, or has the hash of many others."""
    if value is None or type(value) in (str, float, bool) or (type(value) is int and value.bit_length() < 64):
        return value
    raise Refusal("it has a dictionary with keys that are neither text nor numbers")


def _of_type(value: Any, *types: type) -> Any:
    if type(value) not in types:
        raise TypeError(f"a {type(value).__name__} stands where a {types[0].__name__} must")
    return value


def _natural(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 2**63:
        raise Refusal("it is damaged: a length is no natural number")
    return value


def _last(stack: list[Any], length: int) -> list[Any]:
    if len(stack) < length:
        raise IndexError("the stack is too short")
    return stack[-length:]


def shown(name: str) -> str:
    """Return a name from a file as one line, and not a long one."""
    name = escaped(name)
    return name if len(name) <= 100 else f"{name[:97]}..."
