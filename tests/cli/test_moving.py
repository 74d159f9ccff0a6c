"""`srkit new recipe NAME --from`: options written for these tests, after the keys that the projects document."""

import json
import sys
import tomllib
from pathlib import Path

import pytest
from PIL import Image

from srkit.cli.counterparts import NETWORKS
from tests.conftest import photograph

BASICSR = """
name: EDSR_x2
model_type: SRModel
scale: 2
num_gpu: 2
manual_seed: 10
datasets:
  train:
    name: mine
    type: PairedImageDataset
    dataroot_gt: hr
    dataroot_lq: lr
    filename_tmpl: '{}x2'
    io_backend:
      type: disk
    gt_size: 32
    use_hflip: true
    use_rot: true
    num_worker_per_gpu: 6
    batch_size_per_gpu: 4
    prefetch_mode: ~
  val:
    name: Set5
    type: PairedImageDataset
    dataroot_gt: hr
    dataroot_lq: lr
    filename_tmpl: '{}x2'
network_g:
  type: EDSR
  num_in_ch: 3
  num_out_ch: 3
  num_feat: 8
  num_block: 2
  upscale: 2
path:
  pretrain_network_g: ~
  strict_load_g: true
train:
  ema_decay: 0.999
  optim_g: {type: Adam, lr: 1e-4, weight_decay: 0, betas: [0.9, 0.99]}
  scheduler: {type: MultiStepLR, milestones: [200, 400]}
  total_iter: !!float 5e2
  warmup_iter: -1
  pixel_opt: {type: L1Loss, loss_weight: 1.0, reduction: mean}
val:
  val_freq: !!float 5e1
  save_img: false
  metrics:
    psnr: {type: calculate_psnr, crop_border: 2, test_y_channel: true}
    ssim: {type: calculate_ssim, crop_border: 4}
logger:
  print_freq: 10
  save_checkpoint_freq: 5e1
  use_tb_logger: true
dist_params: {backend: nccl, port: 29500}
"""
MOVED = """\
# From options.yml, by `srkit new recipe`. Check it: srkit check FILE

title = "EDSR_x2"
scale = 2
seed = 10
loss = [
    { type = "l1", weight = 1.0, reduction = "mean" },
]
validate = [
    { name = "Set5", dataset = { type = "folder", hr = "hr", lr = "lr", lr_name = "{name}x2" } },
]
metric = [
    { type = "psnr_y" },
    { type = "ssim" },
]

[architecture]
type = "edsr"
res_scale = 1.0
img_range = 255.0
mean = [
    0.4488,
    0.4371,
    0.404,
]
features = 8
blocks = 2

[data]
augment = [
    { type = "hflip" },
    { type = "vflip" },
    { type = "rot90" },
]
patch = 16
batch = 8

[data.dataset]
type = "folder"
hr = "hr"
lr = "lr"
lr_name = "{name}x2"

[optimizer]
type = "adam"
lr = 0.0001
weight_decay = 0.0
betas = [
    0.9,
    0.99,
]

[schedule]
type = "multistep"
milestones = [
    200,
    400,
]
gamma = 0.1

[train]
steps = 500
ema = 0.999
log_every = 10
validate_every = 50
checkpoint_every = 50

# Keys of options.yml without a counterpart, which this recipe does not follow:
#   model_type = "SRModel"  (the losses say what is trained)
#   num_gpu = 2  (srkit run --processes N)
#   datasets.train.name = "mine"
#   datasets.train.num_worker_per_gpu = 6  (data.threads decode images, they are not processes)
#   datasets.train.prefetch_mode = null  (images are always read ahead)
#   path.pretrain_network_g = null
#   path.strict_load_g = true  (weights must always fit; start.fresh names what may be new)
#   val.save_img = false  (samples/ and report.html always have pictures)
#   val.metrics.ssim.crop_border = 4  (srkit always cuts as many pixels as the scale)
#   logger.use_tb_logger = true  (observer = ["tensorboard"])
#   dist_params.backend = "nccl"  (srkit run --processes N, or torchrun)
#   dist_params.port = 29500  (srkit run --processes N, or torchrun)
"""
REDUX = """
name: 2x_mine
scale: 2
use_amp: true
amp_bf16: true
use_channels_last: true
num_gpu: auto
datasets:
  train:
    name: Train Dataset
    type: PairedImageDataset
    dataroot_gt: [hr, hr2]
    dataroot_lq: [lr, lr2]
    io_backend: {type: disk}
    lq_size: 16
    use_hflip: true
    use_rot: false
    batch_size_per_gpu: 4
    accum_iter: 2
network_g: {type: EDSR, num_feat: 8, num_block: 2}
train:
  ema_decay: 0.999
  grad_clip: false
  optim_g: {type: AdamW, lr: 0.0005, weight_decay: 0, betas: [0.9, 0.99]}
  scheduler: {type: MultiStepLR, milestones: [400], gamma: 0.5}
  total_iter: 500
  warmup_iter: 20
  losses:
    - {type: charbonnierloss, loss_weight: 1.0}
    - {type: MSSSIML1Loss, alpha: 0.1, loss_weight: 0.5}
val:
  val_enabled: false
  val_freq: 1000
"""
NEOSR = r"""
name = "x2_mine"
model_type = "image"
scale = 2
use_amp = true
[datasets.train]
type = "paired"
dataroot_gt = 'hr'
dataroot_lq = 'lr'
patch_size = 16
batch_size = 4
augmentation = ["none", "cutblur"]
aug_prob = [0.5, 0.5]
[datasets.val]
name = "val"
type = "paired"
dataroot_gt = 'hr'
dataroot_lq = 'lr'
[network_g]
type = "span"
[path]
pretrain_network_g = 'experiments\g.pth'
[train]
ema = 0.999
wavelet_guided = true
[train.optim_g]
type = "adamw"
lr = 1e-3
[train.pixel_opt]
type = "mse_loss"
loss_weight = 0.5
[logger]
total_iter = 1000
"""


@pytest.fixture
def pairs(tmp_path):
    for folder in ("hr", "lr", "hr2", "lr2"):
        Path(folder).mkdir()
    for i in range(2):
        image = Image.fromarray(photograph(i, 64, 64))
        for high, low in (("hr", "lr"), ("hr2", "lr2")):
            image.save(f"{high}/{i}.png")
            image.resize((32, 32)).save(f"{low}/{i}x2.png")


def moved(call, name, text, *more):
    Path(name).write_text(text)
    assert call("new", "recipe", "mine", "--from", name, *more)[::2] == (0, "")
    return tomllib.loads(Path("mine.toml").read_text())


def test_options_of_basicsr_become_a_recipe_and_comments(call, tmp_path, pairs):
    Path("options.yml").write_text(BASICSR)
    out = "mine.toml\n12 keys have no counterpart and are comments at its end\n"
    assert call("new", "recipe", "mine", "--from", "options.yml") == (0, out, "")
    assert Path("mine.toml").read_text() == MOVED
    code, _, err = call("check", "mine.toml")
    assert (code, err) == (0, "")


def test_without_its_images_only_these_are_missing(call):
    moved(call, "options.yml", BASICSR)
    code, _, err = call("check", "mine.toml")
    assert code == 2
    problems = [line for line in err.splitlines() if line.startswith("mine.toml:")]
    assert [line.partition("; ")[0] for line in problems] == [f"mine.toml:{line}: hr: is not there" for line in (9, 40)]


def test_options_of_trainner_redux_become_a_recipe(call, pairs):
    recipe = moved(call, "options.yml", REDUX)
    pair = {"type": "folder", "hr": "hr", "lr": "lr"}
    assert recipe["data"]["dataset"] == {
        "type": "mix",
        "datasets": [pair, {"type": "folder", "hr": "hr2", "lr": "lr2"}],
    }
    assert (recipe["data"]["batch"], recipe["train"]["accumulate"], recipe["data"]["patch"]) == (8, 2, 16)
    assert recipe["loss"] == [{"type": "charbonnier", "weight": 1.0, "epsilon": 1e-12}]
    assert recipe["schedule"] == {"type": "multistep", "milestones": [400], "gamma": 0.5, "warmup": 20}
    assert (recipe["train"]["precision"], "validate" in recipe) == ("bfloat16", False)
    text = Path("mine.toml").read_text()
    for line in ('#   train.losses.1.type = "MSSSIML1Loss"', "#   train.losses.1.alpha = 0.1"):
        assert line in text.splitlines()
    assert call("check", "mine.toml")[0] == 0


def test_options_of_neosr_become_a_recipe(call, pairs):
    recipe = moved(call, "options.toml", NEOSR, "--set", "architecture=pan")
    assert recipe["architecture"] == {"type": "pan"}
    assert recipe["loss"] == [{"type": "l2", "weight": 0.5}]
    assert recipe["start"] == {"weights": "experiments\\g.pth"}
    assert (recipe["train"]["steps"], recipe["train"]["precision"], recipe["data"]["patch"]) == (1000, "float16", 16)
    assert "#   train.wavelet_guided = true" in Path("mine.toml").read_text().splitlines()
    code, _, err = call("check", "mine.toml", "--set", "start=")
    assert (code, err) == (0, "")


GAN = BASICSR.replace("SRModel", "ESRGANModel").replace(
    "\nval:\n",
    """
  optim_d: {type: Adam, lr: 1e-4}
  perceptual_opt:
    {type: PerceptualLoss, layer_weights: {conv5_4: 1}, vgg_type: vgg19, perceptual_weight: 1.0, criterion: l1}
  gan_opt: {type: GANLoss, gan_type: vanilla, loss_weight: 5e-3}
val:
""",
)


def test_a_gan_keeps_its_discriminator_and_the_optimizer_of_that(call, pairs):
    judge = "\nnetwork_d: {type: UNetDiscriminatorSN, num_in_ch: 3, num_feat: 8}\n"
    losses = moved(call, "options.yml", GAN + judge)["loss"]
    assert losses[1:] == [
        {
            "type": "perceptual",
            "network": "vgg19",
            "weights": "vgg19-dcbb9e9d.pth",
            "layers": {"conv5_4": 1.0},
            "weight": 1.0,
        },
        {
            "type": "adversarial",
            "form": "relativistic",
            "weight": 0.005,
            "discriminator": {"type": "unet", "features": 8},
            "adversary": {"optimizer": {"type": "adam", "lr": 0.0001}},
        },
    ]
    code, _, err = call("check", "mine.toml")
    assert code == 2
    assert [line for line in err.splitlines() if line] == [
        "mine.toml:31: vgg19-dcbb9e9d.pth: there is no such file of weights"
    ]


@pytest.mark.parametrize("what", ["gan_type: wgan", "type: UnknownDiscriminator"])
def test_an_adversary_that_is_not_srkits_is_a_comment_as_a_whole(call, what):
    key, _, value = what.partition(": ")
    text = GAN + "\nnetwork_d: {type: UNetDiscriminatorSN}\n"
    text = text.replace("gan_type: vanilla", what) if key == "gan_type" else text.replace("UNetDiscriminatorSN", value)
    assert [loss["type"] for loss in moved(call, "options.yml", text)["loss"]] == ["l1", "perceptual"]
    assert '#   train.gan_opt.type = "GANLoss"' in Path("mine.toml").read_text().splitlines()


NOT = "has no counterpart; choose one: --set"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "num_feat: 8",
            "",
            f'network_g.type "EDSR" without num_feat {NOT} architecture=NAME (`srkit list architecture`)',
        ),
        (
            "num_feat: 8",
            "num_feat: 8\n  n_colors: 3",
            f"network_g.n_colors 3 {NOT} architecture=NAME (`srkit list architecture`)",
        ),
        ("type: EDSR", "type: HAT", f'network_g.type "HAT" {NOT} architecture=NAME (`srkit list architecture`)'),
        ("type: L1Loss", "type: SomeLoss", f"no loss of train {NOT} loss=NAME (`srkit list loss`)"),
        ("type: Adam", "type: Lion", f'train.optim_g.type "Lion" {NOT} optimizer=NAME (`srkit list optimizer`)'),
        ("MultiStepLR", "CyclicLR", f'train.scheduler.type "CyclicLR" {NOT} schedule=NAME (`srkit list schedule`)'),
        ("scale: 2\n", "", "has no scale; is it an option file of BasicSR, traiNNer-redux or neosr?"),
        ("gt_size: 32", "gt_size: 33", "datasets.train.gt_size 33 is no multiple of the scale 2"),
        ("gt_size: 32", "gt_size: [1]", "datasets.train.gt_size must be a number, not [1]"),
        ("gt_size: 32", "gt_size: 32.5", "datasets.train.gt_size must be a whole number, not 32.5"),
        (
            "    dataroot_gt: hr\n    dataroot_lq: lr\n    filename_tmpl: '{}x2'\n    io",
            "    io",
            "has no datasets.train.dataroot_gt",
        ),
        ("  total_iter: !!float 5e2\n", "", "has no train.total_iter"),
    ],
)
def test_what_a_recipe_must_have_is_never_guessed(call, tmp_path, old, new, message):
    assert old in BASICSR
    Path("options.yml").write_text(BASICSR.replace(old, new, 1))
    assert call("new", "recipe", "mine", "--from", "options.yml") == (2, "", f"srkit new: options.yml: {message}\n")
    assert not Path("mine.toml").exists()


def test_what_has_no_counterpart_is_chosen_on_the_command_line(call, pairs):
    text = BASICSR.replace("type: EDSR", "type: HAT").replace("type: L1Loss", "type: SomeLoss")
    recipe = moved(call, "options.yml", text, "--set", "architecture=espcn", "--set", 'loss=["l2"]')
    assert (recipe["architecture"], recipe["loss"]) == ({"type": "espcn"}, [{"type": "l2"}])
    assert '#   network_g.type = "HAT"' in Path("mine.toml").read_text().splitlines()
    assert call("check", "mine.toml")[0] == 0


HOSTILE = {
    "a tag of Python": (
        "scale: !!python/object/apply:os.system ['touch done']",
        ":1: could not determine a constructor for the tag 'tag:yaml.org,2002:python/object/apply:os.system'",
    ),
    "aliases": ("a: &a [1, 1]\nscale: [*a, *a]", ":2: an alias; write the value out"),
    "a merge of aliases": ("a: &a {b: 1}\nscale: {<<: *a}", ":2: an alias; write the value out"),
    "nesting": ("scale: " + "[" * 5_000, ": is nested too deep"),
    "no YAML": ("scale: [", ":1: expected the node content, but found '<stream end>'"),
    "a list": ("- 1", ": is no table of options"),
    "nothing": ("", ": is no table of options"),
    "an impossible date": ("scale: 2001-99-99", ": month must be in 1..12"),
    "a key that cannot be one": ("? [1]\n: 2", ":1: found unhashable key"),
    "a large file": ("#" * 1_000_001, ": larger than 1,000,000 bytes, too large for options"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_yaml_is_one_line_and_nothing_happens(call, tmp_path, case):
    text, message = HOSTILE[case]
    Path("options.yml").write_text(text)
    assert call("new", "recipe", "mine", "--from", "options.yml") == (2, "", f"srkit new: options.yml{message}\n")
    assert [path.name for path in tmp_path.iterdir()] == ["options.yml"]


def test_keys_and_values_never_leave_their_comment(call, tmp_path):
    keys = '"a\\nscale = 9": 1\nb: "x\\nscale = 8\\x7f\\u2028"\n"\\e[31m": 2\n'
    recipe = moved(call, "options.yml", BASICSR + keys)
    assert recipe["scale"] == 2
    comments = Path("mine.toml").read_text().splitlines()[-3:]
    assert comments == [
        "#   a\\nscale = 9 = 1",
        '#   b = "x\\nscale = 8\\u007f\\u2028"',
        "#   \\x1b[31m = 2",
    ]


def test_broken_toml_is_named_with_its_line(call):
    Path("options.toml").write_text("scale = 2\nname = \n")
    code, _, err = call("new", "recipe", "mine", "--from", "options.toml")
    assert (code, err) == (2, "srkit new: options.toml:2: not valid TOML: Invalid value\n")


def test_no_options_and_a_recipe_that_is_there_are_one_line(call):
    message = "srkit new: options.yml: cannot be read: No such file or directory\n"
    assert call("new", "recipe", "mine", "--from", "options.yml") == (2, "", message)
    Path("mine.toml").write_text("")
    message = "srkit new: mine.toml is there already; remove it first\n"
    assert call("new", "recipe", "mine", "--from", "options.yml") == (2, "", message)


def test_from_and_set_go_together_and_with_a_recipe(call):
    message = "srkit new: --set goes with --from\n"
    assert call("new", "recipe", "quickstart", "--set", "scale=3") == (2, "", message)
    message = "srkit new: --from and --set go with `srkit new recipe`\n"
    assert call("new", "plugin", "mine", "--from", "options.yml") == (2, "", message)


def test_without_pyyaml_a_line_says_how_to_get_it(call, monkeypatch):
    monkeypatch.setitem(sys.modules, "yaml", None)
    Path("options.yml").write_text(BASICSR)
    message = "srkit new: options.yml: YAML is read by PyYAML: pip install pyyaml\n"
    assert call("new", "recipe", "mine", "--from", "options.yml") == (2, "", message)


@pytest.mark.parametrize("name", NETWORKS)
def test_each_network_is_a_component_with_these_settings(call, name):
    network = NETWORKS[name]
    code, out, err = call("show", network.name, "--json")
    if network.name.startswith("spandrel/") and code == 2:
        pytest.skip("needs spandrel")
    assert (code, err) == (0, "")
    settings = {setting["name"] for setting in json.loads(out)["components"][0]["settings"]}
    assert {*network.settings.values(), *network.defaults} <= settings
    assert {*network.needs} <= network.settings.keys()
