"""Tensors to the bytes of a safetensors file and back."""

from __future__ import annotations

import pytest
import safetensors.torch
import torch

from srkit.engine.weights import flat
from tests.engine.later import Later


def test_the_bytes_are_those_that_safetensors_writes():
    tensors = {
        "b.weight": torch.rand(4, 3, 3, 3).to(memory_format=torch.channels_last),
        "a": torch.rand(5),
        "step": torch.tensor(7.0),
        "none": torch.empty(0, 3),
        "turned": torch.rand(3, 2).T,
    }
    contiguous = {name: tensor.contiguous() for name, tensor in tensors.items()}
    assert flat.to_bytes(tensors) == safetensors.torch.save(contiguous)


@pytest.mark.parametrize("write", [safetensors.torch.save, flat.to_bytes])
@pytest.mark.parametrize("read", [safetensors.torch.load, flat.from_bytes])
def test_tensors_of_any_type_come_back(write, read):
    tensors = {str(dtype): (torch.rand(3, 5) * 9).to(dtype) for dtype in flat.NAMES if dtype != torch.complex64}
    found = read(bytes(write(tensors)))
    assert found.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert found[name].dtype == tensor.dtype
        assert torch.equal(found[name].double(), tensor.double())


def test_the_bytes_are_a_copy_of_that_moment():
    tensor = torch.zeros(3)
    data = flat.to_bytes({"a": tensor})
    tensor += 1
    assert torch.equal(flat.from_bytes(data)["a"], torch.zeros(3))


def test_what_no_file_holds_is_named():
    with pytest.raises(ValueError) as error:  # noqa: PT011 - the whole message is compared
        flat.to_bytes({"table": torch.eye(2).to_sparse()})
    expected = "table is a tensor of torch.float32, torch.sparse_coo, which no file of weights holds"
    assert str(error.value) == expected


def test_a_buffer_is_filled_again_and_laid_out_anew_for_tensors_of_another_form():
    buffer = flat.Buffer()
    states = [{"a": torch.rand(2, 3), "b": torch.arange(4)} for _ in range(2)]
    first = buffer.fill(states[0])
    assert first == flat.to_bytes(states[0])
    assert buffer.fill(states[1]) is first
    assert first == flat.to_bytes(states[1])
    for other in ({"a": torch.rand(2, 3)}, {"a": torch.rand(3, 2)}, {"a": torch.rand(3, 2).double()}, {}):
        assert buffer.fill(other) == flat.to_bytes(other)
    with pytest.raises(ValueError, match="which no file of weights holds"):
        buffer.fill({"a": torch.rand(3, 2).to_sparse()})


def states(*forms):
    return [{name: torch.rand(shape) for name, shape in form.items()} for form in forms]


def test_beside_the_current_stream_the_bytes_are_those_of_when_they_were_asked_for():
    dtypes = [torch.float64, torch.float32, torch.bfloat16, torch.int64, torch.uint8, torch.bool]
    tensors = {str(dtype): (torch.rand(3, 5) * 9).to(dtype) for dtype in dtypes}
    tensors |= {"turned": torch.rand(3, 2).T, "none": torch.empty(0, 3), "one": torch.tensor(1.5)}
    expected = flat.to_bytes(tensors)
    buffer = flat.Buffer(Later())
    data = buffer.fill(tensors)
    for tensor in tensors.values():
        tensor.zero_()  # as an optimizer does, in place
    assert data != expected
    buffer.wait()
    assert data == expected


def test_beside_the_current_stream_a_buffer_is_filled_again_and_laid_out_anew():
    buffer = flat.Buffer(Later())
    first, second, other, empty = states({"a": (2, 3)}, {"a": (2, 3)}, {"a": (3, 2), "b": (1,)}, {})
    assert buffer.fill(first) is buffer.fill(second)  # which waits for the first, too
    for tensors in (first, second, other, empty, first):
        data = buffer.fill(tensors)
        buffer.wait()
        buffer.wait()
        assert data == flat.to_bytes(tensors)


def test_with_too_little_memory_for_copies_beside_the_bytes_are_there_at_once():
    class Full(Later):
        def empty(self, shape, dtype):
            raise torch.OutOfMemoryError

    (tensors,) = states({"a": (2, 3)})
    assert flat.Buffer(Full()).fill(tensors) == flat.to_bytes(tensors)
