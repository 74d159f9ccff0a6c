"""What components of BasicSR, traiNNer-redux and neosr are called in srkit, where both compute the same.

The names are those of the projects' option files; other than those of networks, in lower case. traiNNer-redux and neosr
keep BasicSR's where they have its code. Defaults are BasicSR's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from srkit.cli.options import KeyPath, Options

EDSR = {"num_feat": "features", "num_block": "blocks", "res_scale": "res_scale", "img_range": "img_range"}
RCAN = {"num_feat": "features", "num_group": "groups", "num_block": "blocks", "squeeze_factor": "reduction"}
MEAN_OF_DIV2K = [0.4488, 0.4371, 0.4040]
RRDB = {"num_feat": "num_filters", "num_block": "num_blocks"}
COMPACT = {name: name for name in ("num_feat", "num_conv", "act_type")}
SWINIR = (
    *("img_size", "patch_size", "embed_dim", "depths", "num_heads", "window_size", "mlp_ratio", "qkv_bias"),
    *("drop_rate", "attn_drop_rate", "drop_path_rate", "ape", "patch_norm", "use_checkpoint", "img_range"),
    *("upsampler", "resi_connection"),
)


@attrs.frozen
class Network:
    """A network of srkit: its settings by their names there, and the only values there that it has for others.

    `needs` are settings without which a file may mean another project's network of the same name.
    """

    name: str
    settings: Mapping[str, str]
    defaults: Mapping[str, Any] = attrs.field(factory=dict)
    only: Mapping[str, Any] = attrs.field(factory=dict)
    scales: tuple[int, ...] = ()
    needs: tuple[str, ...] = ()


_COMPACT = Network("spandrel/compact", COMPACT)
NETWORKS: Mapping[str, Network] = {
    "EDSR": Network(
        "edsr",
        {**EDSR, "rgb_mean": "mean"},
        {"res_scale": 1.0, "img_range": 255.0, "mean": MEAN_OF_DIV2K},
        needs=("num_feat", "num_block"),
    ),
    "RCAN": Network(
        "rcan",
        {**RCAN, "img_range": "img_range", "rgb_mean": "mean"},
        {"img_range": 255.0, "mean": MEAN_OF_DIV2K},
        {"res_scale": 1},
        needs=("num_feat", "num_group", "num_block"),
    ),
    # For x4 alone: at x1 and x2 BasicSR's begins with a pixel unshuffle.
    "RRDBNet": Network("spandrel/esrgan", RRDB, {"names": "realesrgan"}, {"num_grow_ch": 32}, scales=(4,)),
    "SRVGGNetCompact": _COMPACT,
    "compact": _COMPACT,
    "SwinIR": Network(
        "spandrel/swinir",
        {name: name for name in SWINIR},
        needs=("embed_dim", "depths", "num_heads", "window_size", "upsampler"),
    ),
}
OPTIMIZERS = {"adam": "adam", "adamw": "adamw", "sgd": "sgd", "adan": "adan"}
PIXEL_LOSSES = {
    **dict.fromkeys(("l1loss", "l1_loss"), "l1"),
    **dict.fromkeys(("mseloss", "mse_loss"), "l2"),
    **dict.fromkeys(("charbonnierloss", "charbonnier_loss"), "charbonnier"),
}
PERCEPTUAL = {"vgg_type": "vgg19", "use_input_norm": True, "range_norm": False, "style_weight": 0, "criterion": "l1"}
VGG19 = "vgg19-dcbb9e9d.pth"  # torchvision's file, which the user downloads
FORMS = {"vanilla": "vanilla", "bce": "vanilla", "lsgan": "lsgan", "hinge": "hinge"}
DISCRIMINATORS = {"unetdiscriminatorsn": "unet", "unet": "unet", "vggstylediscriminator": "vgg_like"}
# Types of datasets that make LR while they read: what they do to HR is left as comments.
MAKES_LR = ("realesrgandataset", "realesrganpaireddataset", "otf")

REASONS = {
    "model_type": "the losses say what is trained",
    "num_gpu": "srkit run --processes N",
    "dist_params": "srkit run --processes N, or torchrun",
    "num_worker_per_gpu": "data.threads decode images, they are not processes",
    "num_worker": "data.threads decode images, they are not processes",
    "use_shuffle": "samples are always drawn at random",
    "dataset_enlarge_ratio": "samples are drawn by step, there are no epochs to enlarge",
    "prefetch_mode": "images are always read ahead",
    "meta_info_file": "the setting `names` of the dataset `folder` takes some of the images",
    "meta_info": "the setting `names` of the dataset `folder` takes some of the images",
    "resume_state": "the same command continues a run",
    "strict_load_g": "weights must always fit; start.fresh names what may be new",
    "save_img": "samples/ and report.html always have pictures",
    "use_tb_logger": 'observer = ["tensorboard"]',
    "wandb": 'observer = ["wandb"]',
    "crop_border": "srkit always cuts as many pixels as the scale",
    "grad_clip": "train.clip is the largest norm",
    "augmentation": "augment = ... with `maybe`, `one_of`, `mixup`, `cutmix`, `cutblur`",
    "aug_prob": "augment = ... with `maybe` and `one_of`",
    "network_d": "the discriminator is a setting of the loss `adversarial`",
    "tile": "srkit upscale and eval have --tile",
    "fast_matmul": "torch's own choice",
}
DEGRADED = ("kernel", "blur", "sinc", "resize", "noise", "jpeg", "poisson", "gaussian", "gray")


def reason(path: KeyPath) -> str:
    """Return what to do instead of a key that has no counterpart, "" where nothing is known."""
    for key in reversed(path):
        if key in REASONS:
            return REASONS[str(key)]
    last = str(path[-1])
    if path[-1] == "type" and path[:1] == ("datasets",):
        return "makes LR as it reads; this recipe makes it by bicubic until it has a data.degradation"
    if any(word in last for word in DEGRADED) or last.startswith("degradation"):
        return "data.degradation, as in the recipe realesrgan_x4"
    return ""


def renamed(options: Options, place: KeyPath, names: Mapping[str, str]) -> dict[str, Any]:
    """Return the settings at a place by srkit's names, as used."""
    found = ((new, options.take(*place, old)) for old, new in names.items())
    return {new: value for new, value in found if value is not None}


def loss_of(options: Options, place: KeyPath) -> dict[str, Any] | None:
    """Return the loss at a place, None where srkit has none that computes the same."""
    name = str(options.get(*place, "type")).lower()
    if name in PIXEL_LOSSES:
        options.take(*place, "type")
        found = {"type": PIXEL_LOSSES[name], **_weight(options, place, "loss_weight")}
        if name.startswith("charbonnier"):
            found["epsilon"] = options.number(*place, "eps") or 1e-12
        return {**found, **renamed(options, place, {"reduction": "reduction"})}
    named = all(options.get(*place, key) for key in ("vgg_type", "criterion", "layer_weights"))
    if name == "perceptualloss" and named and _has(options, place, PERCEPTUAL):
        names = options.table(*place, "layer_weights")
        layers = {str(name): options.number(*place, "layer_weights", name) for name in names}
        for key in ("type", *PERCEPTUAL):
            options.take(*place, key)
        weight = _weight(options, place, "perceptual_weight")
        return {"type": "perceptual", "network": "vgg19", "weights": VGG19, "layers": layers, **weight}
    return None


def adversarial(options: Options, place: KeyPath) -> dict[str, Any] | None:
    """Return the loss of a GAN at a place, without its adversary's optimizer, None where srkit has none like it."""
    if str(options.get(*place, "type")).lower() not in ("ganloss", "gan_loss"):
        return None
    form = FORMS.get(str(options.get(*place, "gan_type")))
    judge = DISCRIMINATORS.get(str(options.get("network_d", "type")).lower())
    if str(options.get("train", "optim_d", "type")).lower() not in OPTIMIZERS:
        return None
    if form is None or judge is None or not _has(options, place, {"real_label_val": 1.0, "fake_label_val": 0.0}):
        return None
    if str(options.get("model_type")) == "ESRGANModel":
        if form != "vanilla":
            return None
        form = "relativistic"
    for key in ("type", "gan_type", "real_label_val", "fake_label_val"):
        options.take(*place, key)
    options.take("network_d", "type")
    options.drop("network_d", "num_in_ch", when=3)
    options.drop("train", "net_d_iters", when=1)
    options.drop("train", "net_d_init_iters", when=0)
    names = {"num_feat": "features", **({"input_size": "size"} if judge == "vgg_like" else {})}
    discriminator = {"type": judge, **renamed(options, ("network_d",), names)}
    weight = _weight(options, place, "loss_weight")
    return {"type": "adversarial", "form": form, "discriminator": discriminator, **weight}


def metric_of(options: Options, place: KeyPath, scale: int) -> str:
    """Return srkit's name of a metric, "" where it has none without a file, or measures something else."""
    name = {"calculate_psnr": "psnr", "calculate_ssim": "ssim"}.get(str(options.get(*place, "type")), "")
    if name:
        options.take(*place, "type")
        options.drop(*place, "crop_border", when=scale)
        options.drop(*place, "better", when="higher")
        name += "_y" if options.take(*place, "test_y_channel") else ""
    return name


def _weight(options: Options, place: KeyPath, key: str) -> dict[str, float]:
    weight = options.number(*place, key)
    return {} if weight is None else {"weight": weight}


def _has(options: Options, place: KeyPath, wanted: Mapping[str, Any]) -> bool:
    """Tell whether each of these settings is absent or as wanted: those are the projects' defaults."""
    return all(options.get(*place, key) in (None, value) for key, value in wanted.items())
