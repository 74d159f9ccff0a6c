"""Files of weights of all kinds are read, and those made to do harm are not."""

from __future__ import annotations

import io
import json
import os
import pickle
import pickletools
import random
import struct
import subprocess
import sys
import zipfile
from collections import OrderedDict
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import nn

from srkit.engine.weights import pickles, vetting
from srkit.engine.weights.model import save_model
from srkit.engine.weights.reading import read_metadata, read_weights
from srkit.errors import InputRejected, UsageError

DATA = os.environ.get("SRKIT_TEST_DATA")

STATE = {"conv.weight": torch.arange(24.0).reshape(2, 3, 2, 2), "conv.bias": torch.tensor([1.0, -2.0])}
OTHER = {"conv.weight": torch.zeros(2, 3, 2, 2), "conv.bias": torch.zeros(2)}


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """Each test in an empty folder, so that messages begin with a file's bare name."""
    monkeypatch.chdir(tmp_path)


def saved(value, name="w.pth", **options):
    torch.save(value, name, **options)
    return Path(name)


def legacy(value, name="w.pth"):
    return saved(value, name, _use_new_zipfile_serialization=False)


def zipped(pickled, name="w.pth", compression=zipfile.ZIP_STORED, **entries):
    """A zip file as torch writes them, around a pickle made by hand."""
    with zipfile.ZipFile(name, "w", compression) as archive:
        for entry, data in {"data.pkl": pickled, "version": b"3\n", **entries}.items():
            archive.writestr(f"w/{entry}", data)
    return Path(name)


def rezipped(path, change):
    """The zip file with its entries, name to bytes, changed."""
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in change(entries).items():
            archive.writestr(name, data)
    return path


def rejected(path, **options):
    with pytest.raises(InputRejected) as error:
        read_weights(path, **options)
    assert error.value.exit_code == 3
    assert error.value.path == str(path)
    assert "\n" not in str(error.value)
    return error.value.reason


def unreadable(path):
    start, _, reason = rejected(path).partition(": ")
    assert start == "holds no weights that can be read"
    return reason


def no_safetensors(path):
    start, _, reason = rejected(path).partition(": ")
    assert start == "is no whole safetensors file"
    return reason


def assert_state(weights, state=STATE):
    assert list(weights) == list(state)
    assert all(torch.equal(weights[name], tensor) for name, tensor in state.items())
    assert all(type(tensor) is torch.Tensor and not tensor.requires_grad for tensor in weights.values())


def under(prefix, state=STATE):
    return {f"{prefix}{name}": tensor for name, tensor in state.items()}


# What is taken off


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".ckpt", ".bin"])
@pytest.mark.parametrize("save", [saved, legacy])
def test_bare_weights_are_read_as_they_are(save, suffix):
    weights = read_weights(save(OrderedDict(STATE), f"w{suffix}"))
    assert_state(weights)
    assert (weights.wrapper, weights.prefix) == ("", "")


@pytest.mark.parametrize("name", ["w.safetensors", "w.ckpt"])
def test_safetensors_are_read_whatever_they_are_called(name):
    safetensors.torch.save_file(STATE, name)
    weights = read_weights(Path(name))
    assert {n: t.tolist() for n, t in weights.items()} == {n: t.tolist() for n, t in STATE.items()}


@pytest.mark.parametrize(
    "wrapper", ["params_ema", "params-ema", "params", "state_dict", "model_state_dict", "model", "net"]
)
@pytest.mark.parametrize("save", [saved, legacy])
def test_the_usual_wrappers_are_taken_off_and_told(wrapper, save):
    beside = {"epoch": 3, "best": 31.5, "name": "x2", "lr": [1e-4], "seen": {1, 2}, "hash": b"abc", "done": False}
    weights = read_weights(save({**beside, wrapper: STATE}))
    assert_state(weights)
    assert (weights.wrapper, weights.prefix) == (wrapper, "")


def test_a_network_saved_while_it_trains_is_read_with_all_that_lies_beside():
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    optimizer = torch.optim.Adam(network.parameters())
    network(torch.ones(1, 3, 8, 8)).sum().backward()
    optimizer.step()
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, [3, 5])
    states = {"optimizer": optimizer.state_dict(), "schedule": schedule.state_dict(), "rng": torch.get_rng_state()}
    for save in (saved, legacy):
        weights = read_weights(save({"state_dict": network.state_dict(), **states}))
        assert_state(weights, network.state_dict())
        assert weights.wrapper == "state_dict"


@pytest.mark.parametrize("ema", ["params_ema", "params-ema", "state_dict_ema", "model_ema", "ema"])
@pytest.mark.parametrize("raw", ["params", "state_dict", "model"])
def test_a_moving_average_goes_before_what_it_is_of(ema, raw):
    weights = read_weights(saved({raw: OTHER, ema: STATE}))
    assert_state(weights)
    assert weights.wrapper == ema


@pytest.mark.parametrize("average", ["netG_ema", "netG-ema", "netG.ema", "netG_EMA", "ema_netG"])
def test_so_it_does_by_any_name_of_the_network(average):
    weights = read_weights(saved({"netG": OTHER, average: STATE, "epoch": 3}))
    assert_state(weights)
    assert weights.wrapper == average
    # Of three it is not known which enlarges.
    assert rejected(saved({"netG": OTHER, average: STATE, "netD": STATE})).startswith("holds several networks")


def test_so_it_does_where_both_are_in_one_state_dict():
    weights = read_weights(saved({"state_dict": {**under("generator.", OTHER), **under("generator_ema.")}}))
    assert_state(weights)
    assert (weights.wrapper, weights.prefix) == ("state_dict.generator_ema", "")
    both = {**under("generator."), **under("generator_ema."), **under("critic.")}
    assert_state(read_weights(saved(both)), both)


@pytest.mark.parametrize(
    ("value", "wrapper"),
    [
        ({"model": OTHER, "model_ema": {"module": STATE, "decay": 0.99}}, "model_ema.module"),
        ({"state_dict": OTHER, "ema": {"shadow": STATE, "decay": 0.99}}, "ema.shadow"),
        ({"model": OTHER, "swa_model": {**under("module."), "n_averaged": torch.tensor(3)}}, "swa_model"),
        ({"params": OTHER, "netG_averaged": STATE}, "netG_averaged"),
        (
            {
                "initted": torch.tensor(True),
                "step": torch.tensor(3),
                **under("online_model.", OTHER),
                **under("ema_model."),
            },
            "ema_model",
        ),
        ({"state_dict": {**under("net.", OTHER), **under("net_ema.")}}, "state_dict.net_ema"),
    ],
)
def test_so_it_does_as_other_libraries_keep_both(value, wrapper):
    weights = read_weights(saved(value))
    assert_state(weights)
    assert weights.wrapper == wrapper


def test_the_average_that_torch_makes_is_read():
    network = nn.Conv2d(3, 4, 3)
    weights = read_weights(saved(torch.optim.swa_utils.AveragedModel(network).state_dict()))
    assert_state(weights, {name: tensor.detach() for name, tensor in network.state_dict().items()})
    assert weights.prefix == "module."


def test_wrappers_may_lie_in_each_other():
    weights = read_weights(saved({"model": {"params": OTHER, "params_ema": STATE}, "epoch": 3}))
    assert_state(weights)
    assert weights.wrapper == "model.params_ema"


def test_the_only_network_of_a_file_is_taken_whatever_it_is_called():
    weights = read_weights(saved({"netG": under("module."), "epoch": 3}))
    assert_state(weights)
    assert (weights.wrapper, weights.prefix) == ("netG", "module.")


@pytest.mark.parametrize(
    "prefix", ["module.", "netG.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module.", "netG.module._orig_mod."]
)
def test_prefixes_that_every_tensor_has_are_taken_off_and_told(prefix):
    weights = read_weights(saved(under(prefix)))
    assert_state(weights)
    assert (weights.wrapper, weights.prefix) == ("", prefix)


def test_a_prefix_that_one_tensor_lacks_stays():
    state = {**under("module."), "gain": torch.ones(1)}
    weights = read_weights(saved(state))
    assert_state(weights, state)
    assert weights.prefix == ""


@pytest.mark.parametrize("prefix", ["model.", "net.", "model.module.", "model._orig_mod."])
def test_lightning_has_a_prefix_of_its_own(prefix):
    checkpoint = {"state_dict": under(prefix), "pytorch-lightning_version": "2.5.0", "epoch": 3}
    for path in (saved(checkpoint, "w.pth"), saved({"state_dict": under(prefix)}, "w.ckpt")):
        weights = read_weights(path)
        assert_state(weights)
        assert (weights.wrapper, weights.prefix) == ("state_dict", prefix)


@pytest.mark.parametrize("prefix", ["model.", "net."])
def test_elsewhere_such_a_prefix_is_the_networks_own(prefix):
    state = under(prefix)
    assert_state(read_weights(saved(state)), state)
    assert_state(read_weights(saved(state, "w.ckpt"), key=""), STATE)
    assert_state(read_weights(saved({"state_dict": state}, "w.ckpt"), key="state_dict"), state)


def test_a_file_that_describes_itself_is_taken_as_it_is():
    state = under("module.")
    save_model(Path("w.safetensors"), state, {"architecture": "x", "settings": {}, "scale": 2})
    weights = read_weights(Path("w.safetensors"))
    assert set(weights) == set(state)
    assert weights.prefix == ""


def test_values_beside_tensors_are_no_tensors_and_no_mistake():
    assert_state(read_weights(saved({**STATE, "epoch": 3, "extra": {"a": 1}})))
    assert_state(read_weights(saved({"state_dict": {**STATE, "version": 2}})))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64, torch.int64, torch.uint16])
def test_dtypes_are_kept(dtype):
    weights = read_weights(saved({"w": torch.ones(3).to(dtype)}))
    assert weights["w"].dtype == dtype


def test_parameters_and_views_are_read_as_tensors():
    network = nn.Linear(3, 3)
    tied = {"a.weight": network.weight, "b.weight": network.weight, "part": network.weight[1:, :2].detach()}
    for save in (saved, legacy):
        assert_state(read_weights(save(tied)), {name: tensor.detach() for name, tensor in tied.items()})


def test_infinities_may_be_meant():
    state = {"mask": torch.tensor([0.0, -torch.inf])}
    assert_state(read_weights(saved(state)), state)


# Which network of several


def test_several_networks_are_named():
    path = saved({"netG": STATE, "netD": OTHER, "epoch": 3})
    assert rejected(path) == (
        "holds several networks, or one beside other tensors: netD, netG; "
        "name the one that enlarges by --key, in a recipe by start.key"
    )


def test_a_network_beside_tensors_of_no_name_is_not_taken_for_all_of_them():
    path = saved({"head.weight": torch.ones(1), "body": STATE})
    assert rejected(path) == (
        "holds several networks, or one beside other tensors: body; "
        "name the one that enlarges by --key, in a recipe by start.key"
    )


def test_many_networks_are_not_all_named():
    path = saved({f"net{i:02}": STATE for i in range(10)})
    assert rejected(path) == (
        "holds several networks, or one beside other tensors: net00, net01, net02, net03, net04, net05, net06, net07 "
        "and 2 more; name the one that enlarges by --key, in a recipe by start.key"
    )


@pytest.mark.parametrize(
    ("value", "key", "wrapper"),
    [
        ({"netG": STATE, "netD": OTHER}, "netG", "netG"),
        ({"netG": {"params": OTHER, "params_ema": STATE}, "netD": OTHER}, "netG", "netG.params_ema"),
        ({"params": STATE, "params_ema": OTHER}, "params", "params"),
        ({"model": {"netG": STATE, "netD": OTHER}}, "model.netG", "model.netG"),
        ({"net.G": STATE, "net.D": OTHER}, "net.G", "net.G"),
        ({"state_dict": {**under("generator."), **under("critic.", OTHER)}}, "generator", "state_dict.generator"),
        (under("model."), "model", "model"),
        ({"state_dict": {**under("net."), **under("gan.", OTHER)}}, "state_dict.net", "state_dict.net"),
        ({"a": {"b": {**under("net."), **under("gan.", OTHER)}}}, "a.b.net", "a.b.net"),
    ],
)
def test_a_key_names_a_network_or_what_its_names_begin_with(value, key, wrapper):
    weights = read_weights(saved(value), key=key)
    assert_state(weights)
    assert (weights.wrapper, weights.prefix) == (wrapper, "")


@pytest.mark.parametrize(
    ("value", "key", "message"),
    [
        ({"netG": STATE, "netD": OTHER}, "netX", "w.pth has no network 'netX'; did you mean 'netG'?"),
        ({"netG": STATE, "netD": OTHER}, "w", "w.pth has no network 'w'; there are: netD, netG"),
        (STATE, "netG", "w.pth has no network 'netG'; there are: conv"),
    ],
)
def test_a_key_of_nothing_is_told_with_the_names_there_are(value, key, message):
    with pytest.raises(UsageError) as error:
        read_weights(saved(value), key=key)
    assert str(error.value) == message


# What is no file of weights


@pytest.mark.parametrize("value", [torch.ones(3), [torch.ones(3)], {}, {"epoch": 3}, {0: torch.ones(1)}, "text"])
def test_what_is_no_state_dict_is_told_so(value):
    assert rejected(saved(value)) == "holds something other than a state dict of tensors"


def test_a_tensor_without_a_name_is_not_dropped():
    path = saved({**STATE, 0: torch.ones(1)})
    assert rejected(path) == "holds something other than a state dict of tensors"


PNG = bytes.fromhex("89504e470d0a1a0a0000000d49484452")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "it is empty"),
        (b"\n<!DOCTYPE html><html>404</html>", "it is a web page"),
        (
            b"version https://git-lfs.github.com/spec/v1\noid",
            "it is a pointer of Git LFS, whose file is still to be fetched",
        ),
        (PNG, "it is an image"),
        (b"hello", "neither torch nor safetensors writes such files"),
        (bytes(600), "neither torch nor safetensors writes such files"),
    ],
)
def test_other_files_are_told_what_they_are(content, reason):
    for name in ("w.pth", "w.safetensors"):
        Path(name).write_bytes(content)
    assert unreadable(Path("w.pth")) == reason
    assert no_safetensors(Path("w.safetensors")) == reason


def test_what_calls_itself_safetensors_is_never_read_as_a_pickle():
    assert no_safetensors(saved(STATE, "w.safetensors")) == "it is a zip file"
    assert no_safetensors(legacy(STATE, "v.safetensors")) == "it is a pickle"


def test_places_without_a_file_are_told():
    Path("folder").mkdir()
    os.mkfifo("pipe.pt")
    assert rejected(Path("gone.pt")) == "there is no such file"
    assert rejected(Path("pipe.pt")) == "there is no such file"
    assert rejected(Path("folder")) == "is a folder"


def test_zip_files_of_others_are_told_so():
    with zipfile.ZipFile("photos.pt", "w") as archive:
        archive.writestr("photos/a.png", PNG)
    assert unreadable(Path("photos.pt")) == "it is a zip file without data.pkl, not one that torch.save wrote"


def test_weights_with_nan_are_not_used():
    path = saved({**STATE, "gain": torch.tensor([1.0, torch.nan])})
    assert rejected(path) == "1 of its 3 tensors hold NaN, gain first: the training that made it had diverged"


def test_a_cut_file_is_told_so():
    for save in (saved, legacy):
        whole = save(STATE).read_bytes()
        Path("w.pth").write_bytes(whole[:-20])
        expected = "it is cut short" if save is legacy else "it is a zip file whose end is missing"
        assert unreadable(Path("w.pth")) == expected


def test_a_changed_value_in_a_zip_file_is_noticed():
    path = saved(STATE)
    content = bytearray(path.read_bytes())
    content[content.index(struct.pack("<3f", 5, 6, 7))] ^= 1
    path.write_bytes(content)
    assert unreadable(path) == "it is damaged: w/data/0 is not what was written"


# Code


class Runs:
    """A pickle of it calls a function when it is read."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


PAYLOADS = {
    "posix.system": lambda: Runs(os.system, "touch canary"),
    "posix.mkdir": lambda: Runs(os.mkdir, "canary"),
    "builtins.eval": lambda: Runs(eval, "open('canary', 'w')"),
    "builtins.exec": lambda: Runs(exec, "open('canary', 'w')"),
    "posix.open": lambda: Runs(os.open, "canary", os.O_CREAT),
}


NAMED = "it names {}, which is code, and none is run; its maker can save the state dict alone"


@pytest.mark.parametrize("name", PAYLOADS)
@pytest.mark.parametrize("wrap", [lambda evil: evil, lambda evil: {**STATE, "x": evil}], ids=["bare", "among weights"])
def test_code_in_a_pickle_is_named_and_does_not_run(name, wrap):
    value = wrap(PAYLOADS[name]())
    assert unreadable(saved(value)) == NAMED.format(name)
    assert unreadable(legacy(value)) == NAMED.format(name)
    assert not Path("canary").exists()


@pytest.mark.parametrize("name", PAYLOADS)
@pytest.mark.parametrize("protocol", range(6))
def test_code_in_a_pickle_of_any_protocol_does_not_run(name, protocol):
    pickled = pickle.dumps({"w": PAYLOADS[name]()}, protocol)
    unreadable(zipped(pickled))
    for suffix in ("pt", "ckpt", "safetensors"):
        Path(f"raw.{suffix}").write_bytes(pickled)
        rejected(Path(f"raw.{suffix}"))
    assert not Path("canary").exists()


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize("name", PAYLOADS)
def test_the_same_code_runs_where_a_pickle_is_trusted(name):
    pickle.loads(pickle.dumps(PAYLOADS[name]()))
    assert Path("canary").exists()


def test_a_whole_pickled_network_is_told_so():
    path = saved(nn.Sequential(nn.Linear(1, 1)))
    assert unreadable(path) == (
        "it names torch.nn.modules.container.Sequential, which is a whole pickled network, and none is run; "
        "its maker can save the state dict alone"
    )


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_a_torchscript_archive_is_told_so():
    torch.jit.save(torch.jit.trace(nn.Linear(1, 1), torch.ones(1)), "w.pt")
    assert unreadable(Path("w.pt")) == (
        "it is a TorchScript archive, which holds code; its maker can save the state dict alone"
    )


def test_names_of_a_file_do_not_reach_the_terminal_as_they_are():
    path = zipped(b"\x80\x02c\x1b[31mred\nname\n.")
    assert unreadable(path) == (
        r"it names \x1b[31mred.name, which is code, and none is run; its maker can save the state dict alone"
    )


# More than a file can hold


def tensor(numel=4, offset=0, size="K\x04\x85", stride="K\x01\x85", key="0"):
    """The pickle of one tensor by name, its parts as opcodes."""
    storage = f"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x00{key}X\x03\x00\x00\x00cpu"
    storage = storage.encode("latin-1") + b"J" + struct.pack("<i", numel) + b"tQ"
    view = b"J" + struct.pack("<i", offset) + size.encode("latin-1") + stride.encode("latin-1")
    call = b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + view + b"\x89ccollections\nOrderedDict\n)RtR"
    return b"\x80\x02}X\x01\x00\x00\x00w" + call + b"s."


def test_a_tensor_made_by_hand_is_read():
    data = struct.pack("<4f", 1, 2, 3, 4)
    assert read_weights(zipped(tensor(), **{"data/0": data}))["w"].tolist() == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("made", "reason"),
    [
        ({"size": "J\0\0\0\x10\x85"}, "a tensor claims 268,435,456 values of a storage of 4"),
        ({"size": "J\0\0\0\x10\x85", "stride": "K\0\x85"}, "a tensor claims 268,435,456 values of a storage of 4"),
        ({"offset": 1}, "a tensor claims 4 values of a storage of 4"),
        ({"stride": "K\x02\x85"}, "a tensor claims 4 values of a storage of 4"),
        ({"size": "J\xff\xff\xff\xff\x85"}, "it is damaged: a length is no natural number"),
        ({"stride": ")"}, "it is damaged: a tensor has not as many strides as sides"),
        ({"numel": 3}, "a tensor claims 4 values of a storage of 3"),
        ({"numel": 5}, "it is damaged: data/0 is not 20 bytes long"),
        ({"key": "1"}, "it is damaged: data/1 is not 16 bytes long"),
    ],
)
def test_a_tensor_lies_within_its_storage_and_that_in_the_file(made, reason):
    assert unreadable(zipped(tensor(**made), **{"data/0": bytes(16)})) == reason


def test_a_storage_is_no_larger_than_its_file():
    path = zipped(tensor(numel=1 << 30), **{"data/0": bytes(16)})
    assert unreadable(path) == f"its tensors claim 4,294,967,296 bytes of a file of {path.stat().st_size:,}"
    path = legacy(STATE)
    path.write_bytes(path.read_bytes().replace(b"K\x18", b"J" + struct.pack("<i", 1 << 30), 1))
    assert unreadable(path) == f"its tensors claim 4,294,967,304 bytes of a file of {path.stat().st_size:,}"


def test_views_of_one_storage_are_not_more_than_the_file():
    values = torch.arange(1 << 18)
    path = saved({f"w{i}": values[i:] for i in range(20)})
    assert "of a file of" in unreadable(path)


def test_an_expanded_tensor_is_not_read():
    path = saved({"w": torch.ones(1).expand(1 << 28)})
    assert unreadable(path) == "a tensor claims 268,435,456 values of a storage of 1"


@pytest.mark.parametrize(
    ("value", "what"),
    [
        (lambda: torch.empty(1 << 40, device="meta"), "a meta tensor, which has no values"),
        (lambda: torch.eye(3).to_sparse(), "a sparse tensor"),
        (lambda: torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.quint8), "a quantised tensor"),
    ],
)
@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning", "ignore::FutureWarning")
def test_tensors_of_other_kinds_are_not_read(value, what):
    assert unreadable(saved({"w": value()})) == f"it holds {what}"


def test_a_compressed_archive_is_not_unpacked():
    pickled = tensor(numel=1 << 24, size="J\0\0\0\x01\x85")
    path = zipped(pickled, compression=zipfile.ZIP_DEFLATED, **{"data/0": bytes(1 << 26)})
    assert path.stat().st_size < 100_000
    assert unreadable(path) == "its entries are compressed, which torch.save never does: they may be of any size"


def test_entries_that_share_their_bytes_are_not_read():
    path = zipped(tensor(), **{"data/0": bytes(4096), "data/1": bytes(16)})
    content = bytearray(path.read_bytes())
    at = content.rindex(b"w/data/1") - 46  # its line of the directory, which says both sizes 20 bytes on
    content[at + 20 : at + 28] = struct.pack("<II", 4096, 4096)
    path.write_bytes(content)
    claimed = len(tensor()) + len(b"3\n") + 2 * 4096
    assert unreadable(path) == f"its entries claim {claimed:,} bytes of a file of {len(content):,}"


def test_two_entries_of_one_name_are_not_read():
    path = zipped(tensor(), **{"data/0": bytes(16), "DATA.PKL": tensor()})
    assert unreadable(path) == "two of its entries have one name"


COUNTED = b"(" + b"".join(b"M" + struct.pack("<H", i) + b"N" for i in range(60_000)) + b"u"
DOUBLED = b"K\x01" + b"q\x00h\x00\x86" * 60  # a tuple of 2 ** 60 numbers, each of which its hash would visit
LARGE = b"J\xff\xff\xff\x7f\x85R."
STEPS = "its pickle takes more than 1,000,000 steps"
KEYS = "it has a dictionary with keys that are neither text nor numbers"
CALLS = "it calls {} as torch.save never does"


@pytest.mark.parametrize(
    ("pickled", "reason"),
    [
        (b"}q\x00" + COUNTED + b"ccollections\nCounter\nh\x00\x85R" * 20 + b".", STEPS),
        (b"}" + DOUBLED + b"Ns.", KEYS),
        (b"}\x8a\x20" + b"\x01" * 32 + b"Ns.", KEYS),
        (b"c__builtin__\nbytearray\n" + LARGE, NAMED.format("builtins.bytearray")),
        (b"ctorch\nFloatTensor\n" + LARGE, NAMED.format("torch.FloatTensor")),
        (b"ctorch\nFloatStorage\n" + LARGE, CALLS.format("torch.FloatStorage")),
        (b"c_codecs\nencode\nX\x02\x00\x00\x00aaX\x03\x00\x00\x00hex\x86R.", CALLS.format("_codecs.encode")),
        (b"ccollections\nOrderedDict\n)R}X\x05\x00\x00\x00itemsNsb.", "it gives a dictionary attributes"),
        (b"Pid\n.", "its pickle has PERSID, which torch.save does not write"),
        (b"\x80\x04}.", "its pickle has protocol 4, and torch.save's has 2; save it by torch.save"),
        (b"}h\x07.", "it is damaged: KeyError: 7"),
        (b"}", "it is damaged: ValueError: pickle exhausted before seeing STOP"),
    ],
)
def test_a_pickle_does_no_more_than_tensors_need(pickled, reason):
    assert unreadable(zipped(b"\x80\x02" + pickled)) == reason


def test_a_long_pickle_is_not_read():
    path = zipped(b"\x80\x02}" + b"N0" * (4 << 20) + b".")
    assert unreadable(path) == "its data.pkl is longer than 8,388,608 bytes"


def test_a_dictionary_in_itself_is_searched_once():
    wrappers = b"".join(b"X" + struct.pack("<I", len(name)) + name + b"h\x00" for name in (b"model", b"params", b"net"))
    path = zipped(b"\x80\x02}q\x00(" + wrappers + b"u.")
    assert rejected(path) == "holds something other than a state dict of tensors"


def test_about_as_much_memory_is_taken_as_a_file_is_long():
    state = {f"w{i}": torch.ones(1 << 20) for i in range(16)}
    program = (
        "import pathlib, resource, sys, torch\n"
        "from srkit.engine.weights.reading import read_weights\n"
        "def most(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024\n"
        "read_weights(pathlib.Path('small.pt'))\n"
        "before = most()\n"
        "weights = read_weights(pathlib.Path(sys.argv[1]))\n"
        "print(most() - before)\n"
    )
    saved({"w": torch.ones(1)}, "small.pt")
    path = saved({"state_dict": state})
    done = subprocess.run([sys.executable, "-c", program, path], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 1.2 * path.stat().st_size


# Safetensors


def header(entries, data=b"", text=None):
    text = text if text is not None else json.dumps(entries).encode()
    Path("w.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + data)
    return Path("w.safetensors")


ENTRY = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b'{"w": %s, "w": %s}' % ((json.dumps(ENTRY).encode(),) * 2), "its header names w twice"),
        (b"{" + b" " * (8 << 20) + b"}", "its header claims 8,388,610 bytes, more than 8,388,608"),
        (b'{"a":' + b"[" * 250_000, "its header names more than 20,000 tensors"),
    ],
)
def test_an_absurd_header_is_not_read(text, reason):
    path = header({}, bytes(4), text)
    assert no_safetensors(path) == reason
    with pytest.raises(InputRejected) as error:
        read_metadata(path)
    assert str(error.value) == f"w.safetensors: is no whole safetensors file: {reason}"


def test_more_tensors_than_any_network_has_are_not_read():
    empty = {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}
    path = header({f"{i:x}": empty for i in range(vetting.MOST_TENSORS + 1)})
    assert no_safetensors(path) == "its header names more than 20,000 tensors"


def test_a_deep_header_is_not_read():
    assert no_safetensors(header({}, text=b'{"a":' * 50_000)).startswith("it is damaged: RecursionError: ")


def test_a_deep_description_is_not_read():
    safetensors.torch.save_file(STATE, "w.safetensors", {"srkit": "[" * 100_000})
    assert no_safetensors(Path("w.safetensors")).startswith("it is damaged: RecursionError: ")


@pytest.mark.parametrize(
    "entry", [{**ENTRY, "data_offsets": [0, 8]}, {**ENTRY, "shape": [1 << 40]}, {**ENTRY, "dtype": "OBJECT"}]
)
def test_a_header_that_claims_what_is_not_there_is_not_read(entry):
    assert no_safetensors(header({"w": entry}, bytes(4))).startswith("it is damaged: SafetensorError: ")


# Whatever is damaged


def mutated(content, rng):
    """A file's bytes, changed at a few places, most of them where its structure stands: at its start and its end."""
    content = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 8))):
        at = rng.choice((rng.randrange(len(content)), rng.randrange(min(400, len(content))), len(content) - 1))
        at = max(0, at - rng.randrange(60))
        match rng.randrange(5):
            case 0:
                content[at] ^= 1 << rng.randrange(8)
            case 1:
                content[at : at + 4] = rng.choice((b"\xff" * 4, bytes(4), b"\xff\xff\xff\x7f", rng.randbytes(4)))
            case 2:
                del content[at : at + rng.randrange(1, 30)]
            case 3:
                content[at:at] = rng.randbytes(rng.randrange(1, 30))
            case 4:
                del content[max(1, at) :]
        content = content or bytearray(b"\x80")
    return bytes(content)


def is_read(path):
    """Read a file that may be damaged; anything but InputRejected passes through."""
    try:
        weights = read_weights(path)
    except InputRejected:
        return False
    return sum(tensor.nbytes for tensor in weights.values()) <= path.stat().st_size


@pytest.mark.parametrize("kind", ["zip", "legacy", "safetensors", "data.pkl"])
def test_a_damaged_file_is_read_or_rejected_and_nothing_else(kind):
    rng = random.Random(f"srkit {kind}")
    value = {"params_ema": under("module."), "epoch": 3, "optimizer": {"state": {0: {"step": torch.tensor(3.0)}}}}
    if kind == "safetensors":
        save_model(Path("w.safetensors"), STATE, {"architecture": "x", "settings": {}, "scale": 2})
        path = Path("w.safetensors")
    else:
        path = legacy(value, "w.pt") if kind == "legacy" else saved(value, "w.pt")
    whole = path.read_bytes()
    read = 0
    for _ in range(100):
        path.write_bytes(whole)
        if kind == "data.pkl":  # of an archive whose checksums are right
            rezipped(path, lambda entries: {**entries, "w/data.pkl": mutated(entries["w/data.pkl"], rng)})
        else:
            path.write_bytes(mutated(whole, rng))
        read += is_read(path)
    assert read < 100


@pytest.mark.skipif(DATA is None, reason="SRKIT_TEST_DATA is not set")
def test_the_authors_weights_of_a2n_are_read():
    weights = read_weights(Path(str(DATA)) / "golden/weights/aan_x2.pt")
    assert (len(weights), sum(t.numel() for t in weights.values())) == (172, 1_036_443)


def test_a_checkpoint_of_many_tensors_takes_few_of_the_steps_there_are():
    buffer = io.BytesIO()
    torch.save({f"layer.{i}.weight": torch.ones(1) for i in range(2_000)}, buffer)
    with zipfile.ZipFile(buffer) as archive:
        pickled = archive.read("archive/data.pkl")
    pickles.Claims().walk(io.BytesIO(pickled))
    assert sum(1 for _ in pickletools.genops(pickled)) < pickles.MOST_STEPS / 10
