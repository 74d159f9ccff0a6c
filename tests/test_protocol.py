import json

import pytest

from srkit.errors import UsageError
from srkit.protocol import BLOG, PAPER, Protocol, find_method


def protocol(**told):
    plain = {"scale": 2, "color": {"psnr_y": "Y", "psnr": "RGB"}, "border": {"psnr_y": 2, "psnr": 2}}
    return Protocol(**{**plain, "lr": "files", "images": 5, "fingerprint": "5e75", **told})


def test_a_protocol_comes_back_from_json():
    for made in (protocol(), protocol(forward="chop", ensemble="x8", fit="resize", lr="bicubic(mode=double)")):
        assert Protocol.from_tree(json.loads(json.dumps(made.to_tree()))) == made


def test_the_caption_says_everything():
    assert protocol().caption == (
        "5 images; psnr_y on Y, psnr on RGB; SR rounded to 8 bits; border 2 cut; HR cropped to a multiple of scale; "
        "LR from files; forward whole; data 5e75"
    )
    other = protocol(
        border={"psnr_y": 3, "psnr": 0}, images=1, lr="bicubic", fit="resize", forward="chop", ensemble="x8"
    )
    assert other.caption == (
        "1 image; psnr_y on Y, psnr on RGB; SR rounded to 8 bits; border cut: psnr_y 3, psnr 0; "
        "HR resized to a multiple of scale; LR by bicubic; forward chop, ensemble x8; data 5e75"
    )


@pytest.mark.parametrize(
    "told",
    [
        {"scale": 3},
        {"color": {"psnr_y": "Y (luma=blog)", "psnr": "RGB"}},
        {"border": {"psnr_y": 0, "psnr": 2}},
        {"fit": "resize"},
        {"lr": "bicubic"},
        {"forward": "chop"},
        {"ensemble": "x8"},
        {"images": 4},
        {"fingerprint": "0"},
    ],
)
def test_whatever_differs_makes_another_protocol(told):
    assert protocol(**told) != protocol()


def test_what_is_said_of_other_metrics_does_not_matter_to_one():
    other = protocol(border={"psnr_y": 2, "psnr": 0})
    assert other != protocol()
    assert other.of("psnr_y") == protocol().of("psnr_y")
    assert other.of("psnr") != protocol().of("psnr")


def test_papers_cut_as_many_pixels_as_the_scale_and_the_blog_does_for_psnr_alone():
    assert [PAPER.border(metric, 4) for metric in ("psnr_y", "ssim_y")] == [4, 4]
    assert [BLOG.border(metric, 4) for metric in ("psnr_y", "ssim_y")] == [4, 0]


def test_an_unknown_protocol_names_the_nearest():
    with pytest.raises(UsageError) as error:
        find_method("papr")
    assert str(error.value) == "unknown protocol 'papr'; did you mean 'paper'?"


def test_what_was_padded_is_said_and_where_nothing_was_nothing_is_stored():
    padded = protocol(padding={"swinir": "multiples of 8", "deep": "15 pixels at least"})
    assert padded.caption == protocol().caption.replace(
        "LR from files; ",
        "LR from files; LR padded to multiples of 8 by reflection for swinir; "
        "LR padded to 15 pixels at least by reflection for deep; ",
    )
    assert "padding" not in protocol().to_tree()
    assert Protocol.from_tree(json.loads(json.dumps(padded.to_tree()))) == padded
