"""A stand-in for CUDA graphs on the CPU: operations recorded as torch dispatches them, and done again in their memory.

As a graph does, it replays kernels and no Python: numbers and tensors are those of the recording. As in a graph, what
is recorded is not done, and an operation that hands a value to Python cannot be recorded.
"""

import torch
from torch.utils._python_dispatch import TorchDispatchMode


class Recording(TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self.operations = []
        self.own = {}  # what the recorded operations made, by id: kept, so that no id comes twice
        self.before = {}  # what they were given beyond that, as it was

    def __torch_dispatch__(self, operation, types, arguments=(), named=None):
        named = named or {}
        if operation is torch.ops.aten._local_scalar_dense.default:
            raise RuntimeError("a value is read while a graph is recorded")
        # All that is given, since the schema of a batch norm does not name the statistics that it changes.
        for tensor in tensors([*arguments, *named.values()]):
            if id(tensor) not in self.own and id(tensor) not in self.before:
                self.before[id(tensor)] = tensor, tensor.clone()
        made = operation(*arguments, **named)
        for tensor in tensors(made):
            self.own[id(tensor)] = tensor
        is_view = any(r.alias_info is not None and not r.alias_info.is_write for r in operation._schema.returns)
        if not is_view:  # a view is where it was
            changes = any(a.alias_info is not None and a.alias_info.is_write for a in operation._schema.arguments)
            self.operations.append((operation, arguments, named, None if changes else made))
        return made

    @torch.no_grad()
    def replay(self):
        for operation, arguments, named, made in self.operations:
            again = operation(*arguments, **named)
            if made is not None:
                for old, new in zip(tensors(made), tensors(again), strict=True):
                    old.copy_(new)


def tensors(value):
    if isinstance(value, torch.Tensor):
        return [value]
    return [t for one in value for t in tensors(one)] if isinstance(value, list | tuple) else []


class StandIn:
    """A `Recorder` for the CPU."""

    def __init__(self):
        self.replays = 0

    def record(self, work):
        recording = Recording()
        try:
            with recording:
                returned = work()
        finally:
            with torch.no_grad():
                for tensor, before in recording.before.values():
                    tensor.copy_(before)

        def replay():
            self.replays += 1
            recording.replay()

        return returned, replay
