"""The bridge to spandrel: its networks, its detection, and srkit's files in programs built on it."""

from __future__ import annotations

import importlib.util
import inspect
import json
import re
import subprocess
import sys
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import srkit
from srkit.cli import main
from srkit.engine.networks.meta import sketch
from srkit.plugin.discovery import installed
from srkit.plugin.settings import read_settings, type_name
from srkit.testing.check import Subject
from srkit.testing.running import results
from tests.conftest import HANGS, TINY

torch.set_num_threads(1)

needs_spandrel = pytest.mark.skipif(
    importlib.util.find_spec("spandrel") is None or importlib.util.find_spec("einops") is None,
    reason="spandrel is not installed: pip install --no-deps spandrel einops",
)
needs_no_torchvision = pytest.mark.skipif(
    importlib.util.find_spec("torchvision") is not None, reason="torchvision is installed, so nothing stands in for it"
)

# Small settings of each network, and the scales that it has.
SMALL: dict[str, tuple[dict[str, Any], tuple[int, ...]]] = {
    "ESRGAN": ({"num_filters": 8, "num_blocks": 2}, (1, 2, 4)),
    "Compact": ({"num_feat": 8, "num_conv": 2}, (1, 2, 3, 4)),
    "SPAN": ({"feature_channels": 8}, (1, 2, 3, 4)),
    "SwinIR": ({"img_size": 16, "embed_dim": 8, "depths": [2, 2], "num_heads": [2, 2]}, (1, 2, 3, 4)),
    "OmniSR": ({"num_feat": 16}, (1, 2, 3, 4)),
    "RealPLKSR": ({"dim": 8, "n_blocks": 2, "kernel_size": 5}, (1, 2, 3, 4)),
    "DAT": (
        {
            "img_size": 16,
            "embed_dim": 32,
            "split_size": [4, 8],
            "depth": [2],
            "num_heads": [2],
            "expansion_factor": 2.0,
        },
        (1, 2, 3, 4),
    ),
}
EACH = pytest.mark.parametrize("name", SMALL)
# OmniSR's own backward; Python itself tells nobody of it.
omnisr_is_deprecated = pytest.mark.filterwarnings("ignore:'saved_variables' is deprecated:DeprecationWarning")


def small(name: str, scale: int = 2, **others: Any) -> Any:
    """A small network as srkit makes it, with weights that are always the same."""
    torch.manual_seed(0)
    settings = {**SMALL[name][0], **others}
    return installed().create("architecture", f"spandrel/{name.lower()}", scale=scale, **settings)


def theirs(name: str, scale: int = 2) -> Any:
    """The same network as spandrel makes it, without srkit."""
    from srkit_spandrel.bridge import SCALES, networks

    network = networks()[name]
    called = next(word for word in SCALES if word in network.parameters)
    fixed = {"SPAN": {"num_in_ch": 3, "num_out_ch": 3}, "SwinIR": {"upsampler": "pixelshuffle", "window_size": 8}}
    torch.manual_seed(0)
    return network.cls(**{called: scale, **SMALL[name][0], **fixed.get(name, {})})


def spandrel() -> Any:
    from srkit_spandrel.standin import import_spandrel

    return import_spandrel()


def detect(weights: dict[str, torch.Tensor]) -> srkit.Detected | None:
    found: srkit.Detected | None = installed().create("detector", "spandrel")(weights)
    return found


def process(text: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, timeout=HANGS)


def printed(text: str) -> list[str]:
    run = process(text)
    assert run.returncode == 0, run.stderr
    return run.stdout.splitlines()


class Memory(TorchDispatchMode):
    """Sees the largest tensor, in bytes, that is made on the CPU."""

    def __init__(self) -> None:
        super().__init__()
        self.largest = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if isinstance(out, torch.Tensor) and out.device.type == "cpu":
            self.largest = max(self.largest, out.nbytes)
        return out


# Without spandrel

HIDDEN = "import sys; sys.modules['{name}'] = None; from srkit.cli import main; sys.exit(main({words!r}))"


def without(name: str, *words: str) -> subprocess.CompletedProcess[str]:
    return process(HIDDEN.format(name=name, words=words))


def test_without_spandrel_a_row_says_what_to_install():
    run = without("spandrel", "list", "--json")
    assert run.returncode == 0, run.stderr
    rows = [row for row in json.loads(run.stdout)["components"] if row["name"].startswith("spandrel")]
    assert [(row["kind"], row["name"], row["missing"]) for row in rows] == [
        ("architecture", "spandrel", "it needs spandrel: pip install --no-deps spandrel einops")
    ]


def test_without_spandrel_its_use_is_refused_in_a_line():
    run = without("spandrel", "show", "spandrel")
    assert (run.returncode, run.stdout.splitlines()[0], run.stderr) == (
        2,
        "spandrel  The networks of spandrel",
        "srkit show: architecture 'spandrel' cannot be used: "
        "it needs spandrel: pip install --no-deps spandrel einops\n",
    )


@needs_spandrel
def test_without_einops_a_row_says_that_it_is_missing():
    run = without("einops", "show", "spandrel")
    assert run.stderr == (
        "srkit show: architecture 'spandrel' cannot be used: spandrel needs einops: pip install --no-deps einops\n"
    )


def test_a_spandrel_of_another_layout_is_a_row_too(tmp_path):
    for name in ("spandrel", "einops"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("")
    found = printed(
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "import srkit_spandrel\n"
        "(row,) = srkit_spandrel.srkit_components()\n"
        "print(row.missing)"
    )
    assert found == [f"no networks were found in {tmp_path / 'spandrel'}; known is the layout of spandrel 0.4"]


# The list


@needs_spandrel
def test_the_networks_for_super_resolution_are_listed_and_no_others():
    names = {component.name for component in srkit.components("architecture")}
    assert {f"spandrel/{name.lower()}" for name in SMALL} <= names
    assert {"spandrel/hat", "spandrel/plksr", "spandrel/upcunet2x"} <= names
    others = ("lama", "gfpgan", "restoreformer", "scunet", "nafnet", "dncnn", "aurasr", "ipt", "span arch")
    assert not {f"spandrel/{name}" for name in others} & names


@needs_spandrel
def test_a_row_says_what_it_is():
    (row,) = [c for c in srkit.components("architecture") if c.name == "spandrel/compact"]
    assert (row.summary, row.target) == ("RealESRGAN Compact, of spandrel's zoo", "srkit_spandrel.bridge:Compact")
    assert re.fullmatch(r"spandrel [\d.]+", row.source)
    (row,) = [c for c in srkit.components("architecture") if c.name == "spandrel/upcunet3x"]
    assert row.facts["scales"] == (3,)
    assert row.facts["tileable"] is False


def test_listing_is_quick_and_imports_nothing_heavy():
    heavy, made = printed(
        "import itertools, sys\n"
        "import srkit_spandrel\n"
        "counter = itertools.count()\n"
        "sys.setprofile(lambda *event: next(counter))\n"
        "list(srkit_spandrel.srkit_components())\n"
        "sys.setprofile(None)\n"
        "print(*({'torch', 'numpy', 'spandrel', 'einops', 'safetensors', 'torchvision'} & set(sys.modules)))\n"
        "print(next(counter))"
    )
    assert heavy == ""
    assert int(made) < 100_000  # 0.02 s where nothing counts them


@needs_spandrel
def test_settings_are_read_from_the_signature():
    target = installed().find("architecture", "spandrel/swinir").component.load()
    assert next(iter(inspect.signature(target).parameters)) == "scale"
    found = {name: (type_name(s.type), s.default, s.doc) for name, s in read_settings(target, ["scale"]).items()}
    assert found["depths"] == ("list of integers", [6, 6, 6, 6], "Depth of each Swin Transformer layer.")
    assert found["window_size"] == ("integer", 8, "Window size")
    assert found["mlp_ratio"] == ("number", 4.0, "Ratio of mlp hidden dim to embedding dim")
    assert found["upsampler"][:2] == ("string", "pixelshuffle")
    assert not {"upscale", "in_chans", "norm_layer", "qk_scale"} & found.keys()


@needs_spandrel
def test_show_says_all_of_a_network(capsys):
    assert main(["show", "spandrel/compact"]) == 0
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == "spandrel/compact  RealESRGAN Compact, of spandrel's zoo"
    assert lines[2].rpartition(":")[0].endswith("spandrel/architectures/Compact/__arch/SRVGG.py")
    assert lines[-4:] == ['type = "spandrel/compact"', "num_feat = 64", "num_conv = 16", 'act_type = "prelu"']
    # By hand: 9 * 64 * (3 + 16 * 64 + 4 * 3) weights of the convolutions, their biases, 17 activations of 64.
    assert any(re.match(r"x2 +600,652 ", line) for line in lines)


# The networks


@needs_spandrel
@EACH
def test_the_output_is_the_input_enlarged_at_every_scale_and_size(name):
    for scale in SMALL[name][1]:
        network = small(name, scale).eval()
        for height, width in [(17, 19), (1, 1), (3, 24)]:
            with torch.inference_mode():
                out = network(torch.rand(1, 3, height, width))
            assert out.shape == (1, 3, height * scale, width * scale), (scale, height, width)


@needs_spandrel
@omnisr_is_deprecated
@EACH
def test_gradients_reach_the_parameters(name):
    network = small(name)
    out = network.train()(torch.rand(2, 3, 16, 16))
    assert out.shape == (2, 3, 32, 32)
    out.square().mean().backward()
    # SPAN's are computed from its other weights when it is not trained.
    left = [n for n, p in network.named_parameters() if p.grad is None and "eval_conv" not in n]
    assert not left
    assert any(p.grad.abs().sum() > 0 for p in network.parameters() if p.grad is not None)


@needs_spandrel
@EACH
def test_the_network_is_spandrels_own_bit_by_bit(name):
    own, other = small(name).eval(), theirs(name)
    assert list(own.state_dict()) == list(other.state_dict())
    descriptor = spandrel().ModelLoader().load_from_state_dict(other.state_dict())
    image = torch.rand(1, 3, 17, 21)
    with torch.inference_mode():
        out = own(image)
    assert torch.equal(out.clamp(0, 1), descriptor(image))


@needs_spandrel
def test_the_input_is_left_as_it_is():
    network = installed().create("architecture", "spandrel/rcan", scale=2, n_resgroups=1, n_resblocks=1, n_feats=16)
    image = torch.rand(1, 3, 8, 8)
    before = image.clone()
    with torch.no_grad():
        network(image)
    assert torch.equal(image, before)


@needs_spandrel
def test_an_image_beside_other_outputs_is_the_output():
    network = installed().create(
        "architecture",
        "spandrel/mmrealsr",
        scale=4,
        num_feat=8,
        num_block=1,
        num_grow_ch=4,
        num_feats=[8, 8, 8, 8],
        num_blocks=[1, 1, 1, 1],
    )
    with torch.no_grad():
        assert network(torch.rand(1, 3, 17, 16)).shape == (1, 3, 68, 64)


@needs_spandrel
def test_a_network_that_shrinks_the_image_first_has_the_scale_that_was_asked_for():
    for name, setting in (("ESRGAN", {"shuffle_factor": 2}), ("SwinIR", {"start_unshuffle": 2})):
        network = small(name, 2, **setting).eval()
        with torch.no_grad():
            assert network(torch.rand(1, 3, 7, 9)).shape == (1, 3, 14, 18)


@needs_spandrel
def test_a_network_is_made_on_the_device_that_is_the_default():
    with torch.device("meta"):
        network = small("RealPLKSR")
    assert {tensor.device.type for tensor in network.state_dict().values()} == {"meta"}


@needs_spandrel
@pytest.mark.parametrize("name", ["dat", "fdat", "moesr", "omnisr", "rcan"])  # whose constructors look at values
def test_a_network_is_sketched_without_memory_for_its_weights(name):
    with Memory() as memory:
        network = sketch(lambda: installed().create("architecture", f"spandrel/{name}", scale=2))
    assert network is not None
    assert {tensor.device.type for tensor in network.state_dict().values()} == {"meta"}
    assert memory.largest < 2**17  # bytes: a rate for each layer, the places in a window, twice each


@needs_spandrel
def test_weights_do_not_depend_on_what_is_asked_of_spandrel():
    small("DAT")
    after = torch.rand(1)
    theirs("DAT")
    assert torch.equal(after, torch.rand(1))


@needs_spandrel
@pytest.mark.parametrize(
    ("name", "scale", "settings", "message"),
    [
        ("compact", 2, {"act_type": "sine"}, "spandrel/compact cannot be built: UnboundLocalError: "),
        ("swinir", 2, {"window_size": 7}, "spandrel/swinir cannot be built: RuntimeError: "),
        ("grl", 1, {"depths": [1], "num_heads_window": [3], "num_heads_stripe": [3]}, "spandrel/grl: spandrel cannot "),
    ],
)
def test_what_spandrel_refuses_is_a_value_error(name, scale, settings, message):
    with pytest.raises(ValueError, match=name) as error:
        installed().create("architecture", f"spandrel/{name}", scale=scale, **settings)
    assert str(error.value).startswith(message)
    assert len(str(error.value)) < 300
    assert "\n" not in str(error.value)


@needs_spandrel
def test_a_scale_that_a_network_has_not_is_refused():
    with pytest.raises(ValueError, match="scale") as error:
        small("ESRGAN", 3)
    assert str(error.value) == "spandrel/esrgan has scales 1, 2, 4, 8, not 3"
    with pytest.raises(ValueError, match="scale") as error:
        small("SwinIR", 3, upsampler="nearest+conv")
    assert str(error.value) == (
        "spandrel/swinir has no scale 3 with these settings: spandrel takes it for one of scale 2"
    )


@needs_spandrel
def test_what_cannot_be_made_is_not_made_with_memory_instead_of_a_sketch():
    with Memory() as memory, pytest.raises(ValueError, match="scale"):
        sketch(lambda: small("SwinIR", 3, upsampler="nearest+conv", embed_dim=6_000))
    assert memory.largest < 2**17


@needs_spandrel
def test_a_network_of_any_size_is_sketched():
    with torch.device("meta"):
        network = small("Compact", num_feat=1_000_000)
    assert sum(parameter.numel() for parameter in network.parameters()) > 10**13


@needs_spandrel
def test_an_unknown_setting_names_the_nearest():
    with pytest.raises(srkit.ComponentError) as error:
        srkit.create("architecture", "spandrel/compact", scale=2, num_feats=8)
    assert str(error.value) == ("architecture 'spandrel/compact' has no setting 'num_feats'; did you mean 'num_feat'?")


@needs_spandrel
@pytest.mark.slow
@omnisr_is_deprecated
@pytest.mark.parametrize("name", [e.component.name for e in installed() if e.component.name.startswith("spandrel/")])
def test_a_network_keeps_the_contract_but_for_what_it_states(name):
    registry = installed()
    found = results(Subject(registry.find("architecture", name), registry))
    assert [(result.check.name, result.found) for result in found if result.outcome == "failed"] == []


# Names of ESRGAN's weights


@needs_spandrel
@pytest.mark.parametrize(
    ("names", "first", "last"),
    [
        ("esrgan", "model.0.weight", "model.10.bias"),
        ("realesrgan", "conv_first.weight", "conv_last.bias"),
        ("bsrgan", "conv_first.weight", "conv_last.bias"),
    ],
)
def test_spandrel_opens_an_esrgan_by_any_makers_names(names, first, last):
    network = small("ESRGAN", 4, names=names).eval()
    weights = network.state_dict()
    assert (next(iter(weights)), list(weights)[-1]) == (first, last)
    descriptor = spandrel().ModelLoader().load_from_state_dict(dict(weights))
    image = torch.rand(1, 3, 9, 8)
    with torch.inference_mode():
        assert torch.equal(network(image).clamp(0, 1), descriptor(image))


@needs_spandrel
@pytest.mark.parametrize("names", ["esrgan", "realesrgan", "bsrgan"])
@pytest.mark.parametrize("scale", [1, 2, 4])
def test_an_esrgan_takes_back_its_weights_by_name(names, scale):
    network, other = small("ESRGAN", scale, names=names), small("ESRGAN", scale, names=names)
    for parameter in other.parameters():
        torch.nn.init.zeros_(parameter)
    other.load_state_dict(network.state_dict())
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, other.state_dict()[name])
    with pytest.raises(RuntimeError, match="Missing key"):
        other.load_state_dict(
            small("ESRGAN", scale, names="realesrgan" if names == "bsrgan" else "bsrgan").state_dict()
        )


@needs_spandrel
def test_esrgan_plus_has_its_own_names_alone():
    with pytest.raises(ValueError, match="names") as error:
        small("ESRGAN", plus=True, names="bsrgan")
    assert str(error.value) == 'there are no names "bsrgan" for this network: leave names = "esrgan"'


# The detector


@needs_spandrel
@EACH
@pytest.mark.parametrize("scale", [1, 2, 4])
def test_weights_of_spandrels_are_detected_and_give_the_same_image(tmp_path, name, scale):
    path = tmp_path / "net.pth"
    torch.save({"params_ema": theirs(name, scale).state_dict()}, path)
    weights = torch.load(path, weights_only=True)["params_ema"]
    found = detect(weights)
    assert found is not None
    assert (found.architecture, found.scale) == (f"spandrel/{name.lower()}", scale)
    network = srkit.create("architecture", found.architecture, scale=found.scale, **found.settings).eval()
    network.load_state_dict(weights)
    image = torch.rand(1, 3, 18, 23)
    descriptor = spandrel().ModelLoader().load_from_file(path)
    with torch.inference_mode():
        assert torch.equal(network(image).clamp(0, 1), descriptor(image))


@needs_spandrel
def test_what_equals_the_defaults_is_not_told():
    assert detect(theirs("Compact", 4).state_dict()) == ("spandrel/compact", {"num_feat": 8, "num_conv": 2}, 4)


@needs_spandrel
@pytest.mark.parametrize("names", ["realesrgan", "bsrgan"])
@pytest.mark.parametrize("setting", [{}, {"shuffle_factor": 2}])
def test_the_names_of_an_esrgan_are_detected(names, setting):
    weights = small("ESRGAN", 2, names=names, **setting).state_dict()
    found = detect(weights)
    assert found == (
        "spandrel/esrgan",
        {"num_filters": 8, "num_blocks": 2, "names": names, **setting},
        2,
    )
    assert srkit.create("architecture", found.architecture, scale=2, **found.settings).state_dict().keys() == (
        weights.keys()
    )


@needs_spandrel
def test_a_swinir_that_shrinks_the_image_first_is_detected():
    weights = small("SwinIR", 2, start_unshuffle=2).state_dict()
    assert "conv_first.1.weight" in weights
    assert detect(weights) == ("spandrel/swinir", {**SMALL["SwinIR"][0], "start_unshuffle": 2}, 2)


@needs_spandrel
def test_other_weights_are_not_detected():
    grey = spandrel().architectures.Compact.Compact(num_in_ch=1, num_out_ch=1, num_feat=8, num_conv=1, upscale=2)
    denoiser = spandrel().architectures.DnCNN.DnCNN(in_nc=3, out_nc=3, nc=8, nb=3)
    cut = theirs("SPAN").state_dict()
    del cut["block_6.c3_r.sk.bias"]
    for weights in (
        {"weight": torch.zeros(3)},
        srkit.create("architecture", "a2n", scale=2).state_dict(),
        grey.state_dict(),
        denoiser.state_dict(),
        cut,
        {**theirs("Compact").state_dict(), "another.weight": torch.zeros(1)},
    ):
        assert detect(weights) is None


@needs_spandrel
def test_weights_that_claim_a_network_larger_than_they_are_are_not_built():
    wide = theirs("Compact").state_dict() | {"body.0.weight": torch.zeros(1, 3, 3, 3).expand(100_000, 3, 3, 3)}
    many = theirs("Compact").state_dict() | {"body.2000000000.bias": torch.zeros(12)}
    deep = theirs("Compact").state_dict() | {"body.9998.bias": torch.zeros(12)}
    assert [detect(weights) for weights in (wide, many, deep)] == [None, None, None]


@needs_spandrel
def test_detecting_draws_no_random_numbers():
    weights = theirs("DAT").state_dict()
    torch.manual_seed(7)
    expected = torch.rand(1)
    torch.manual_seed(7)
    detect(weights)
    assert torch.equal(torch.rand(1), expected)


# Runs, and files in spandrel's programs


def trained(name: str, tiny: Any) -> Any:
    """The run directory of two steps of a small network, scored once."""
    settings = "".join(f"{key} = {json.dumps(value)}\n" for key, value in SMALL[name][0].items())
    text = TINY.replace('type = "a2n"\nfeatures = 4\nblocks = 1\nupsampling_features = 4\n', "{architecture}")
    text = text.replace("{architecture}", f'type = "spandrel/{name.lower()}"\n{settings}').replace(
        "patch = 8", "patch = 16"
    )
    tiny.write_text(re.sub(r"steps = 6(?s:.*)", 'steps = 2\ndevice = "cpu"\nema = 0.9\n', text))
    return srkit.run(tiny, out=tiny.parent / "run").directory


@pytest.fixture
def loader(monkeypatch):
    """spandrel's loader with srkit's files installed, for one test."""
    import srkit_spandrel

    cls = spandrel().ModelLoader
    monkeypatch.setattr(cls, "load_from_file", cls.load_from_file)
    srkit_spandrel.install()
    return cls()


@needs_spandrel
@omnisr_is_deprecated
@EACH
def test_a_recipe_trains_it_and_its_file_opens_in_srkit_and_in_spandrel(name, tiny, loader):
    path = trained(name, tiny) / "best.safetensors"
    network = srkit.load(path)
    image = torch.rand(1, 3, 17, 22)
    with torch.inference_mode():
        out = network(image)
    assert out.shape == (1, 3, 34, 44)
    descriptor = loader.load_from_file(path)
    assert isinstance(descriptor, spandrel().ImageModelDescriptor)
    assert (descriptor.scale, descriptor.input_channels, descriptor.output_channels) == (2, 3, 3)
    assert descriptor.architecture.id == ("PLKSR" if name == "RealPLKSR" else name)
    assert torch.equal(descriptor(image), out.clamp(0, 1))
    # The same weights without their description, as a program without srkit sees them.
    bare = spandrel().ModelLoader().load_from_state_dict(dict(network.state_dict()))
    assert descriptor.size_requirements == bare.size_requirements
    assert torch.equal(bare(image), out.clamp(0, 1))


@needs_spandrel
def test_a_network_that_spandrel_does_not_know_opens_as_well(tiny, loader):
    path = srkit.run(tiny, set=["train.steps=2"]).directory / "best.safetensors"
    descriptor = loader.load_from_file(path)
    assert (descriptor.architecture.name, descriptor.purpose, descriptor.scale) == ("a2n", "SR", 2)
    assert (descriptor.supports_half, descriptor.size_requirements.none) == (False, True)
    image = torch.rand(1, 3, 9, 7)
    with torch.inference_mode():
        assert torch.equal(descriptor(image), srkit.load(path)(image).clamp(0, 1))


@needs_spandrel
def test_settings_that_shapes_do_not_show_are_those_of_the_file(tmp_path, loader):
    from safetensors.torch import save_file

    settings = {"feature_channels": 8, "img_range": 1.0}
    network = srkit.create("architecture", "spandrel/span", scale=2, **settings).eval()
    path = tmp_path / "span.safetensors"
    text = json.dumps({"architecture": "spandrel/span", "settings": settings, "scale": 2})
    save_file(network.state_dict(), path, {"srkit": text})
    image = torch.rand(1, 3, 8, 8)
    with torch.inference_mode():
        expected = network(image).clamp(0, 1)
    assert torch.equal(loader.load_from_file(path)(image), expected)
    bare = spandrel().ModelLoader().load_from_state_dict(dict(network.state_dict()))
    assert not torch.equal(bare(image), expected)


@needs_spandrel
def test_other_files_open_as_before(tmp_path, loader):
    from safetensors.torch import save_file

    network = theirs("Compact")
    torch.save(network.state_dict(), tmp_path / "net.pth")
    save_file(network.state_dict(), tmp_path / "net.safetensors")
    for path in ("net.pth", "net.safetensors"):
        assert loader.load_from_file(tmp_path / path).architecture.id == "Compact"
        assert loader.load_from_file(str(tmp_path / path)).scale == 2
    save_file({"a": torch.zeros(1)}, tmp_path / "none.safetensors")
    with pytest.raises(spandrel().UnsupportedModelError):
        loader.load_from_file(tmp_path / "none.safetensors")
    with pytest.raises(ValueError, match="Unsupported model file extension"):
        loader.load_from_file(tmp_path / "net.txt")
    with pytest.raises(FileNotFoundError):
        loader.load_from_file(tmp_path / "nowhere.safetensors")


@needs_spandrel
def test_a_file_of_a_network_that_is_not_installed_is_left_to_spandrel(tmp_path, loader):
    from safetensors.torch import save_file

    text = json.dumps({"architecture": "mine", "settings": {}, "scale": 2})
    save_file(theirs("Compact").state_dict(), tmp_path / "known.safetensors", {"srkit": text})
    save_file({"a": torch.zeros(1)}, tmp_path / "unknown.safetensors", {"srkit": text})
    assert loader.load_from_file(tmp_path / "known.safetensors").architecture.id == "Compact"
    with pytest.raises(spandrel().UnsupportedModelError) as error:
        loader.load_from_file(tmp_path / "unknown.safetensors")
    assert str(error.value).startswith(f"{tmp_path / 'unknown.safetensors'}: unknown architecture 'mine'")


@needs_spandrel
def test_installing_twice_changes_nothing_more(loader):
    import srkit_spandrel

    once = type(loader).load_from_file
    srkit_spandrel.install()
    assert type(loader).load_from_file is once


# torchvision

MODULES = "print(*sorted(name for name in sys.modules if name.partition('.')[0] == 'torchvision'))"


@needs_spandrel
@needs_no_torchvision
def test_what_stands_in_for_torchvision_is_gone_afterwards():
    found = printed(
        "import sys, importlib.util\n"
        "import srkit, srkit_spandrel\n"
        "srkit_spandrel.install()\n"
        f"{MODULES}\n"
        "srkit.create('architecture', 'spandrel/compact', scale=2)\n"
        f"{MODULES}\n"
        "print(importlib.util.find_spec('torchvision'))\n"
        "import spandrel\n"
        "print(len(spandrel.MAIN_REGISTRY) > 40)"
    )
    assert found == ["", "", "None", "True"]


@needs_spandrel
@needs_no_torchvision
def test_it_is_gone_also_where_the_import_fails(tmp_path):
    (tmp_path / "spandrel").mkdir()
    (tmp_path / "spandrel" / "__init__.py").write_text(
        "from torchvision.transforms.functional import InterpolationMode, normalize, rotate\n1 / 0\n"
    )
    found = printed(
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "from srkit_spandrel.standin import import_spandrel\n"
        "try: import_spandrel()\n"
        "except ZeroDivisionError: print('failed')\n" + MODULES
    )
    assert found == ["failed", ""]


@needs_spandrel
@needs_no_torchvision
def test_a_call_of_torchvision_that_is_not_there_says_what_to_install():
    restoreformer = spandrel().architectures.RestoreFormer
    with pytest.raises(ImportError) as error:
        restoreformer.tv_normalize(torch.zeros(3, 1, 1), [0.5] * 3, [0.5] * 3)
    assert str(error.value) == (
        "spandrel's RestoreFormer calls torchvision.transforms.functional.normalize: install torchvision"
    )


@needs_spandrel
def test_torchvision_is_used_where_it_is(tmp_path):
    folder = tmp_path / "torchvision" / "transforms"
    folder.mkdir(parents=True)
    for path in (folder, folder.parent):
        (path / "__init__.py").write_text("")
    (folder / "functional.py").write_text(
        "class InterpolationMode: pass\n\ndef rotate(): pass\n\ndef normalize(): pass\n"
    )
    found = printed(
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "from srkit_spandrel.standin import import_spandrel\n"
        "normalize = import_spandrel().architectures.RestoreFormer.tv_normalize\n"
        "print(normalize.__code__.co_filename)\n" + MODULES
    )
    assert found == [
        str(folder / "functional.py"),
        "torchvision torchvision.transforms torchvision.transforms.functional",
    ]
