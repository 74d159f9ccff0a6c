from pathlib import Path

import pytest
import torch
from PIL import Image

from srkit.cli import main
from srkit.errors import InputRejected
from srkit.images.opening import KINDS, SUFFIXES
from srkit.recipe.packaged import packaged_recipes
from tests.conftest import TINY, photograph

PHOTOS = 'name = "photos"\ndataset = { type = "folder", path = "photos" }'
VALIDATE = PHOTOS.replace("photos", "val")


def save(path, height, width, seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(photograph(seed, height, width)).save(path)


def test_a_good_recipe_is_shown_with_its_data(call, tiny):
    code, out, err = call("check", "tiny.toml")
    assert (code, err) == (0, "")
    assert [line.rstrip() for line in out.splitlines()] == [
        "ok  Tiny  tiny.toml",
        "    network    a2n x2; features 4, blocks 1, upsampling_features 4, img_range 1.0, non_attention_kernel 3",
        "    data       4 HR images in photos, no LR beside them; LR by bicubic",
        "    batch      4 samples, LR 8x8, HR 16x16",
        "    training   6 steps, 6.0 epochs, adam, constant",
        "    validate   photos: 4 HR images in photos, no LR beside them; LR by bicubic",
    ]


def test_every_problem_is_reported_at_once_with_its_line(call, tiny):
    tiny.write_text(TINY.replace("steps", "step").replace("blocks = 1", 'blocks = "1"').replace('"rot90"', '"rot"'))
    assert call("check", "tiny.toml") == (
        2,
        "",
        "tiny.toml:7: 'blocks' must be an integer, not \"1\"\n"
        "tiny.toml:12: unknown augmentation 'rot'; did you mean 'rot90'? (installed: cutblur, cutmix, hflip, "
        "maybe, mixup, one_of, rot90, transpose, usm, vflip)\n"
        "tiny.toml:24: missing key 'steps'\n"
        "tiny.toml:25: unknown key 'step'; did you mean 'steps'?\n",
    )


def test_what_a_constructor_refuses_has_the_line_of_its_table(call, tiny):
    tiny.write_text(TINY.replace("features = 4", "features = 1", 1).replace("lr = 1e-3", "lr = -1"))
    assert call("check", "tiny.toml") == (
        2,
        "",
        "tiny.toml:4: features must be at least 4, not 1\ntiny.toml:20: lr must be above 0, not -1\n",
    )


def test_an_override_is_checked_as_the_file_is(call, tiny):
    code, _, err = call("check", "tiny.toml", "--set", "train.stops=5", "--set", "data.patch=0")
    assert code == 2
    assert err.splitlines() == [
        "--set data.patch=0: 'patch' must be at least 1, not 0",
        "--set train.stops=5: unknown key 'stops'; did you mean 'steps'?",
    ]


def test_several_recipes_are_all_checked(call, tiny, tmp_path):
    (tmp_path / "bad.toml").write_text("scale = \n")
    code, out, err = call("check", "bad.toml", "tiny.toml", "nowhere.toml")
    assert code == 2
    assert out.startswith("ok  Tiny  tiny.toml\n")
    assert err == (
        "bad.toml:1: not valid TOML: Invalid value\n"
        "srkit check: there is no recipe nowhere.toml, neither a file nor a packaged one; "
        f"there are: {', '.join(packaged_recipes())}\n"
    )


def test_a_packaged_recipe_is_found_by_its_name_and_in_no_other_folder(call, tmp_path):
    for name in ("quickstart", "quickstart.toml", "recipes/quickstart.toml"):
        assert call("check", name)[0] == 0
    (tmp_path / "runs/quickstart").mkdir(parents=True)
    assert call("check", "runs/quickstart")[::2] == (2, "srkit check: runs/quickstart is a folder, not a recipe\n")
    (tmp_path / "runs/quickstart/recipe.toml").touch()
    told = "srkit check: runs/quickstart is a run; its recipe is runs/quickstart/recipe.toml\n"
    assert call("check", "runs/quickstart")[::2] == (2, told)
    code, _, err = call("check", "foo/quickstart")
    assert (code, err.partition(";")[0]) == (
        2,
        "srkit check: there is no recipe foo/quickstart, neither a file nor a packaged one",
    )


@pytest.mark.parametrize(("name", "near"), [("tiny.tml", "tiny.toml"), ("here/tiyn", "here/tiny.toml")])
def test_a_recipe_of_nearly_that_name_is_proposed(call, tiny, tmp_path, name, near):
    (tmp_path / "here").mkdir()
    (tmp_path / "here/tiny.toml").write_text(tiny.read_text())
    code, _, err = call("check", name)
    told = f"srkit check: there is no recipe {name}, neither a file nor a packaged one; did you mean '{near}'?\n"
    assert (code, err) == (2, told)


def test_the_packaged_recipe_is_good(call):
    code, out, err = call("check", "quickstart")
    assert (code, err) == (0, "")
    assert out.startswith("ok  Quickstart")


def test_a_missing_folder_is_a_problem_of_its_line(call, tiny):
    tiny.write_text(TINY.replace('path = "photos"', 'path = "nowhere"', 1))
    assert call("check", "tiny.toml") == (
        2,
        "",
        f"tiny.toml:11: nowhere: is not there; looked for in {tiny.parent}\n",
    )


def test_an_empty_folder_is_a_problem_of_its_line(call, tiny, tmp_path):
    (tmp_path / "empty").mkdir()
    tiny.write_text(TINY.replace('path = "photos"', 'path = "empty"', 1))
    looked = ", ".join(SUFFIXES)
    assert call("check", "tiny.toml") == (2, "", f"tiny.toml:11: empty: has no images: looked for {looked}\n")


def test_an_image_that_cannot_be_read_is_named(call, tiny, photographs):
    (photographs / "p1.png").write_bytes(b"no image at all")
    message = f"photos/p1.png: is not {KINDS}: it begins with b'no image at '\n"
    advice = (
        "1 of 4 images cannot be used: mend or remove them, or pack the others with srkit prepare SRC DST --skip-bad\n"
    )
    assert call("check", "tiny.toml") == (3, "", message + advice)


def test_an_image_of_validation_that_cannot_be_read_is_named(call, tiny, tmp_path):
    save(tmp_path / "val/a.png", 40, 40)
    (tmp_path / "val/b.png").write_bytes(b"")
    tiny.write_text(TINY.replace(PHOTOS, VALIDATE))
    assert call("check", "tiny.toml") == (3, "", "val/b.png: is empty\n")


def test_an_image_too_small_for_a_metric_is_found_before_the_run(call, tiny, tmp_path):
    save(tmp_path / "val/a.png", 40, 40)
    save(tmp_path / "val/b.png", 12, 30)
    tiny.write_text(TINY.replace(PHOTOS, VALIDATE))
    message = "b: images must be at least 11x11 pixels once the border is cut, not 26x8\n"
    assert call("check", "tiny.toml") == (3, "", message)


def test_images_smaller_than_a_patch_are_left_out_counted_and_named(call, tiny, photographs, tmp_path):
    save(tmp_path / "val/a.png", 40, 40)
    tiny.write_text(TINY.replace(PHOTOS, VALIDATE))
    for name in ("s1", "s2", "s3", "s4"):
        save(photographs / f"{name}.png", 15, 60)
    code, out, _ = call("check", "tiny.toml")
    assert code == 0
    assert "    left out   4 images smaller than a patch: s1, s2, s3, ..." in map(str.rstrip, out.splitlines())
    for name in ("s2", "s3", "s4"):
        (photographs / f"{name}.png").unlink()
    assert "left out   1 image smaller than a patch: s1" in call("check", "tiny.toml")[1]


def test_images_all_smaller_than_the_patch_are_a_problem_of_its_line(call, tiny):
    tiny.write_text(TINY.replace("patch = 8", "patch = 48"))
    message = "tiny.toml:13: none of the 4 images is as large as a patch: 48 LR pixels at scale 2 need 96x96\n"
    assert call("check", "tiny.toml") == (2, "", message)


@pytest.mark.parametrize("kept", [True, False], ids=["another size", "not there"])
def test_lr_that_does_not_belong_to_hr_is_named(call, tiny, tmp_path, kept):
    for i in range(2):
        save(tmp_path / f"set/HR/p{i}.png", 40, 44, seed=i)
        save(tmp_path / f"set/LR_bicubic/X2/p{i}x2.png", 20, 22, seed=i)
    last = tmp_path / "set/LR_bicubic/X2/p1x2.png"
    if kept:
        save(last, 20, 21)
        message = "set/LR_bicubic/X2/p1x2.png: is 21x20, but p1.png is 44x40, which needs 22x20 at scale 2\n"
    else:
        last.unlink()
        message = (
            "set/LR_bicubic/X2: has no LR image for 1 of 2 HR images: p1.png; "
            "looked for p1x2; nothing is left over there\n"
        )
    tiny.write_text(TINY.replace('path = "photos"', 'path = "set"', 1))
    assert call("check", "tiny.toml") == (3, "", message)


def test_weights_that_cannot_fit_are_found_though_another_run_is_there(call, tiny):
    assert call("run", "tiny.toml")[0] == 0
    code, out, err = call(
        *("check", "tiny.toml", "--set", "architecture.features=6"),
        *("--set", 'start.weights="runs/tiny/best.safetensors"'),
    )
    assert (code, out) == (3, "")
    assert err.startswith("runs/tiny/best.safetensors: ")
    assert "it was trained with features = 4, this network has 6" in err
    code, out, err = call("check", "tiny.toml", "--set", 'start.weights="runs/tiny/best.safetensors"', "--restart")
    assert (code, err) == (0, "")
    assert "takes 22 tensors (1,321 values) of runs/tiny/best.safetensors" in out


def test_where_another_run_is_what_a_new_one_would_do_is_shown_beside_it(call, tiny):
    assert call("run", "tiny.toml")[0] == 0
    code, out, err = call("check", "tiny.toml", "--set", 'start.weights="runs/tiny/best.safetensors"')
    assert (code, err) == (0, "")
    lines = [line.strip() for line in out.splitlines()]
    assert lines[1] == (
        "state      runs/tiny holds another run (start.weights was not set, is 'runs/tiny/best.safetensors'): "
        "`srkit run` needs --out DIR or --restart"
    )
    assert lines[-1] == "start      takes 22 tensors (1,321 values) of runs/tiny/best.safetensors"


FROZEN = """
from pathlib import Path

import srkit
import torch
from torch import nn

class Frozen(nn.Module):
    def __init__(self, *, path: str = "frozen.txt"):
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(float(Path(path).read_text())), requires_grad=False)

    def forward(self, sr, hr):
        return self.factor * (sr - hr).abs().mean()

@srkit.hookimpl
def srkit_components():
    yield srkit.Component("loss", "frozen", f"{__name__}:Frozen")
"""


def test_a_loss_whose_frozen_weights_have_changed_is_found_before_the_run_goes_on(call, tiny):
    Path("frozen.py").write_text(FROZEN)
    Path("frozen.txt").write_text("1.0")
    loss = ("-p", "frozen.py", "--set", "loss.type=frozen")
    assert call("run", "tiny.toml", *loss)[0] == 0
    longer = (*loss, "--set", "train.steps=8")
    assert call("check", "tiny.toml", *longer)[0] == 0
    Path("frozen.txt").write_text("2.0")
    assert call("check", "tiny.toml", *longer) == (
        1,
        "",
        "a loss has other frozen parameters than this run began with: its file of weights has changed; restore that, "
        "or use --restart to begin anew, or --out DIR for another place\n",
    )
    assert call("check", "tiny.toml", *longer, "--restart")[0] == 0


@pytest.mark.parametrize(
    ("place", "code", "message"),
    [
        ("gann=net_d.pth", 2, "--set start.adversaries.gann=net_d.pth: no loss 'gann' has an adversary; there are: "),
        ("adversarial=x.pth", 2, "--set start.adversaries.adversarial=x.pth: there is no file x.pth"),
        ("adversarial=other.pth", 3, "other.pth: does not fit the adversary of 'adversarial'"),
    ],
)
def test_what_an_adversary_starts_from_is_looked_at(call, tiny, place, code, message):
    torch.save({"weight": torch.zeros(3)}, "other.pth")
    loss = 'loss=["l1", {type="adversarial", discriminator={type="patch", features=4, layers=1}}]'
    found = call("check", "tiny.toml", "--set", loss, "--set", f"start.adversaries.{place}")
    assert found[:2] == (code, "")
    assert found[2].startswith(message)


def test_a_device_that_is_not_here_is_said_and_not_refused(call, tiny):
    """A recipe may be checked elsewhere than it is trained."""
    code, out, err = call("check", "tiny.toml", "--set", "train.device=cuda:99")
    assert (code, err) == (0, "")
    text = "train.device is 'cuda:99', but there is no such GPU here; \"auto\" takes what there is"
    assert text in out


FOREIGN = """
import srkit
from torch.nn import Conv2d, PixelShuffle, Sequential


def net(scale, nf=64, dilations=(1, 1), act=None):
    return Sequential(Conv2d(3, nf, 3, padding=1), Conv2d(nf, 3 * scale**2, 1), PixelShuffle(scale))


@srkit.hookimpl
def srkit_components():
    yield srkit.Component("architecture", "net", f"{__name__}:net", summary="Of the field")
"""


def test_a_network_without_types_is_set_by_its_defaults_types(tiny, capsys):
    Path("net.py").write_text(FOREIGN)

    def check(settings):
        code = main(["-p", "net.py", "check", "tiny.toml", "--set", f"architecture={{type='net', {settings}}}"])
        found = capsys.readouterr()
        return (code, *(found.err or found.out).splitlines())

    code, *lines = check("nf=16, dilations=[2]")
    assert code == 0
    assert [line.split(None, 1)[1] for line in lines if "network" in line] == ["net x2; nf 16, dilations [2]"]
    given = "--set architecture={type='net', "
    assert check("nf=1.5") == (2, f"{given}nf=1.5}}: 'nf' must be an integer, not 1.5")
    assert check("act='relu'") == (
        2,
        f"{given}act='relu'}}: unknown setting 'act' of architecture 'net': that parameter has no type; "
        "write act: int, or which type it has, in the signature",
    )


def test_the_name_of_a_file_stays_on_one_line(call, tiny, photographs):
    Image.new("RGB", (40, 40)).save(photographs / "a\nb.png")
    (photographs / "a\nb.png").write_bytes(b"no image")
    code, _, err = call("check", "tiny.toml")
    assert code == 3
    assert err.startswith("photos/a\\nb.png: ")
    assert not any(line.startswith("b.png") for line in err.splitlines())


def test_lines_of_a_reason_stay_lines_and_names_in_it_stay_on_theirs():
    assert str(InputRejected("a\nb", "has x\ny:\n  one\n  two\u2028")) == "a\\nb: has x\\ny:\n  one\n  two\\u2028"
