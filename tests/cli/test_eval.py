import csv
import json
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import srkit
from tests.cli.conftest import save_nearest
from tests.conftest import photograph

DATA = os.environ.get("SRKIT_TEST_DATA")


@pytest.fixture
def evaluate(call, nearest, model, photographs):
    """Run `srkit -p nearest.py eval ...`; return (exit code, stdout, stderr)."""

    def run(*arguments):
        return call("-p", nearest, "eval", *arguments)

    return run


def test_json_is_a_table_a_folder_with_a_row_a_model_and_one_of_bicubic(evaluate):
    code, out, err = evaluate("repeat.safetensors", "--data", "photos", "--data", "again=photos", "--json")
    document = json.loads(out)
    assert (code, err, document["schema"]) == (0, "", 1)
    first, second = document["tables"]
    assert (first["data"], second["data"], first["scale"]) == ("photos", "again", 2)
    assert first["rows"] == second["rows"]
    assert first["protocol"] == {
        "scale": 2,
        "color": {"psnr_y": "Y", "ssim_y": "Y"},
        "border": {"psnr_y": 2, "ssim_y": 2},
        "rounding": "8 bits",
        "fit": "crop",
        "lr": "bicubic",
        "forward": "whole",
        "ensemble": "none",
        "images": 4,
        "fingerprint": first["protocol"]["fingerprint"],
    }
    assert [row["model"] for row in first["rows"]] == ["repeat", "bicubic"]
    for row in first["rows"]:
        assert row.keys() == {"model", "mean", "images"}
        assert list(row["images"]) == ["p0", "p1", "p2", "p3"]
        for metric, mean in row["mean"].items():
            assert mean == pytest.approx(np.mean([scores[metric] for scores in row["images"].values()]))


STATING = """
import srkit


class Mean:
    better = "lower"
    protocol = "weights of mean-0123abcd.pth"

    def __call__(self, sr, hr):
        return float(abs(sr.astype(float) - hr).mean())


@srkit.hookimpl
def srkit_components():
    facts = {"border": False}
    yield srkit.Component("metric", "mean", f"{__name__}:Mean", summary="mean", facts=facts)
"""


def test_a_metric_that_states_its_protocol_and_no_border_is_shown_so(call, nearest, model, photographs, tmp_path):
    (tmp_path / "stating.py").write_text(STATING)
    told = ["-p", nearest, "-p", "stating.py", "eval", "repeat.safetensors", "--data", "photos"]
    code, out, err = call(*told, "--metric", "psnr_y", "--metric", "mean", "--json")
    table = json.loads(out)["tables"][0]
    assert (code, err) == (0, "")
    assert table["protocol"]["border"] == {"psnr_y": 2, "mean": 0}
    assert table["protocol"]["color"] == {"psnr_y": "Y", "mean": "RGB (weights of mean-0123abcd.pth)"}


ALONE = """
import numpy as np
import srkit


def variation(*, gain: float = 1.0):
    return lambda sr: gain * float(np.abs(np.diff(sr.astype(float), axis=1)).mean())


@srkit.hookimpl
def srkit_components():
    yield srkit.Component("metric", "variation", f"{__name__}:variation", summary="v", facts={"reference": False})
"""


def test_a_metric_that_looks_at_sr_alone_scores_every_row_and_the_caption_says_so(evaluate, call, nearest, tmp_path):
    (tmp_path / "alone.py").write_text(ALONE)
    options = ["--metric", "variation", "--metric", "psnr_y"]
    told = ["-p", nearest, "-p", "alone.py", "eval", "repeat.safetensors", "--data", "photos", *options]
    document = json.loads(call(*told, "--json")[1])["tables"][0]
    hr = np.asarray(photograph(0, 48, 64))
    lr = srkit.create("degradation", "bicubic", scale=2)(hr)
    sr = lr.repeat(2, axis=0).repeat(2, axis=1)[2:-2, 2:-2].astype(float)
    ours, bicubic = document["rows"]
    assert ours["images"]["p0"]["variation"] == pytest.approx(np.abs(np.diff(sr, axis=1)).mean())
    assert ours["images"]["p0"]["psnr_y"] != ours["images"]["p0"]["variation"]
    assert 0 < bicubic["mean"]["variation"] != ours["mean"]["variation"]
    assert document["protocol"]["color"] == {"variation": "RGB of SR alone", "psnr_y": "Y"}
    code, out, err = call(*told)
    assert (code, err) == (0, "")
    assert "4 images; variation on RGB of SR alone, psnr_y on Y; SR rounded to 8 bits" in out


def test_a_score_is_that_of_the_image_computed_by_hand(evaluate, photographs):
    table = json.loads(evaluate("repeat.safetensors", "--data", "photos", "--json")[1])["tables"][0]
    hr = np.asarray(photograph(0, 48, 64))
    lr = srkit.create("degradation", "bicubic", scale=2)(hr)
    sr = lr.repeat(2, axis=0).repeat(2, axis=1)
    # BT.601 as MATLAB's rgb2ycbcr without rounding; the peak is 255.
    weights = np.array([65.481, 128.553, 24.966]) / 255
    error = ((sr.astype(float) - hr) @ weights)[2:-2, 2:-2]
    psnr = 10 * np.log10(255**2 / np.mean(error**2))
    assert table["rows"][0]["images"]["p0"]["psnr_y"] == pytest.approx(psnr, abs=1e-3)


def test_the_table_has_scores_and_their_distance_from_bicubic(evaluate):
    document = json.loads(evaluate("repeat.safetensors", "--data", "photos", "--json")[1])["tables"][0]
    code, out, err = evaluate("repeat.safetensors", "--data", "photos")
    lines = [line.split() for line in out.splitlines()]
    assert (code, err) == (0, "")
    assert lines[0] == ["photos", "x2", "psnr_y", "ssim_y"]
    ours, bicubic = (row["mean"] for row in document["rows"])
    psnr, ssim = ours["psnr_y"] - bicubic["psnr_y"], ours["ssim_y"] - bicubic["ssim_y"]
    shown = [f"{ours['psnr_y']:.2f}", f"({psnr:+.2f})", f"{ours['ssim_y']:.4f}", f"({ssim:+.4f})"]
    assert lines[1] == ["repeat", *shown]
    assert lines[2] == ["bicubic", f"{bicubic['psnr_y']:.2f}", f"{bicubic['ssim_y']:.4f}"]
    assert out.splitlines()[3] == (
        "in brackets: minus bicubic; "
        "4 images; psnr_y on Y, ssim_y on Y; SR rounded to 8 bits; border 2 cut; HR cropped to a multiple of scale; "
        f"LR by bicubic; forward whole; data {document['protocol']['fingerprint']}"
    )
    assert len(lines) == 4


def test_several_models_have_their_difference_to_the_first_with_an_interval(evaluate, tmp_path):
    save_nearest(tmp_path / "pale.safetensors", blue=0.5)
    code, out, _ = evaluate("repeat.safetensors", "pale.safetensors", "--data", "photos", "--json")
    table = json.loads(out)["tables"][0]
    first, second, bicubic = table["rows"]
    assert code == 0
    assert "difference" not in first | bicubic
    found = second["difference"]
    assert found["to"] == "repeat"
    per_image = [second["images"][name]["psnr_y"] - scores["psnr_y"] for name, scores in first["images"].items()]
    assert found["psnr_y"]["mean"] == pytest.approx(np.mean(per_image))
    assert (
        min(per_image) <= found["psnr_y"]["low"] < found["psnr_y"]["mean"] < found["psnr_y"]["high"] <= max(per_image)
    )
    shown = evaluate("repeat.safetensors", "pale.safetensors", "--data", "photos")[1].splitlines()[4]
    signed = [f"{found['psnr_y'][key]:+.2f}" for key in ("mean", "low", "high")]
    assert shown.startswith(f"pale minus repeat: psnr_y {signed[0]} [{signed[1]}, {signed[2]}], ssim_y ")
    assert shown.endswith(" (95 %)")


@pytest.mark.parametrize("form", ["json", "csv", "markdown", "latex"])
def test_what_a_plugin_prints_is_in_no_document(call, nearest, model, photographs, form):
    told = nearest.read_text().replace("super().__init__()", "super().__init__(); print('created')")
    loud = nearest.with_name("loud.py")
    loud.write_text(told)
    plain = call("-p", nearest, "eval", "repeat.safetensors", "--data", "photos", "--table", form)
    code, out, err = call("-p", loud, "eval", "repeat.safetensors", "--data", "photos", "--table", form)
    assert (code, out) == plain[:2]
    assert "created" in err


def test_a_network_far_below_bicubic_is_asked_about_its_range(evaluate, tmp_path):
    save_nearest(tmp_path / "dark.safetensors", blue=-9.0)
    code, _, err = evaluate("dark.safetensors", "--data", "photos", "--metric", "psnr")
    assert (code, err) == (0, "dark is far below bicubic: is it trained, and does it take values of 0..1?\n")


def test_of_tiles_that_do_not_make_up_the_whole_is_told(call, nearest, model, photographs):
    text = nearest.read_text().replace('summary="the nearest pixel"', 'summary="one", facts={"tileable": False}')
    nearest.write_text(text)
    code, _, err = call("-p", nearest, "eval", "repeat.safetensors", "--data", "photos", "--forward", "tiles")
    told = "architecture 'nearest' states that tiles do not make up its output: these are scores of tiles\n"
    assert (code, err) == (0, told)


def test_a_table_can_be_markdown_latex_or_csv(evaluate):
    document = json.loads(evaluate("repeat.safetensors", "--data", "photos", "--table", "json")[1])["tables"][0]
    ours, bicubic = (row["mean"] for row in document["rows"])
    caption = evaluate("repeat.safetensors", "--data", "photos")[1].splitlines()[3].partition("bicubic; ")[2]
    cells = [f"{row['psnr_y']:.2f}" for row in (ours, bicubic)], [f"{row['ssim_y']:.4f}" for row in (ours, bicubic)]
    assert evaluate("repeat.safetensors", "--data", "photos", "--table", "markdown")[1].splitlines() == [
        "| photos x2 | psnr\\_y | ssim\\_y |",
        "| --- | ---: | ---: |",
        f"| repeat | {cells[0][0]} | {cells[1][0]} |",
        f"| bicubic | {cells[0][1]} | {cells[1][1]} |",
        "",
        caption,
    ]
    assert evaluate("repeat.safetensors", "--data", "photos", "--table", "latex")[1].splitlines() == [
        f"% {caption}",
        r"\begin{tabular}{lrr}",
        r"\hline",
        r"photos x2 & psnr\_y & ssim\_y \\",
        r"\hline",
        rf"repeat & {cells[0][0]} & {cells[1][0]} \\",
        rf"bicubic & {cells[0][1]} & {cells[1][1]} \\",
        r"\hline",
        r"\end{tabular}",
    ]
    lines = list(csv.reader(evaluate("repeat.safetensors", "--data", "photos", "--table", "csv")[1].splitlines()))
    assert lines[0] == ["data", "scale", "model", "image", "metric", "value", "protocol"]
    assert lines[1] == ["photos", "2", "repeat", "", "psnr_y", repr(ours["psnr_y"]), caption]
    assert len(lines) == 1 + 2 * 2 * 5


def test_metrics_may_be_chosen(evaluate):
    table = json.loads(evaluate("repeat.safetensors", "--data", "photos", "--metric", "psnr", "--json")[1])["tables"][0]
    assert list(table["rows"][0]["mean"]) == ["psnr"]
    assert table["protocol"]["color"] == {"psnr": "RGB"}


def test_the_blogs_protocol_resizes_hr_and_keeps_the_border_for_ssim(evaluate):
    code, out, _ = evaluate(
        "repeat.safetensors", "--data", "photos", "--protocol", "paper", "--protocol", "blog", "--json"
    )
    paper, blog = json.loads(out)["tables"]
    assert code == 0
    assert blog["protocol"] == {
        **paper["protocol"],
        "border": {"psnr_y": 2, "ssim_y": 0},
        "fit": "resize",
        "lr": "pillow_bicubic",
    }
    hr = Image.open("photos/p2.png").resize((40, 40), Image.Resampling.BICUBIC)  # 41 pixels wide
    lr = np.asarray(hr.resize((20, 20), Image.Resampling.BICUBIC))
    sr, weights = lr.repeat(2, 0).repeat(2, 1), np.array([65.481, 128.553, 24.966]) / 255
    error = ((sr.astype(float) - np.asarray(hr)) @ weights)[2:-2, 2:-2]
    psnr = 10 * np.log10(255**2 / np.mean(error**2))
    assert blog["rows"][0]["images"]["p2"]["psnr_y"] == pytest.approx(psnr, abs=1e-6)
    shown = evaluate("repeat.safetensors", "--data", "photos", "--protocol", "paper", "--protocol", "blog")[1]
    assert shown.splitlines()[-1] == "not comparable with photos x2 above: another protocol"


def test_an_unknown_protocol_is_told(evaluate):
    code, _, err = evaluate("repeat.safetensors", "--data", "photos", "--protocol", "papr")
    assert (code, err) == (2, "srkit eval: unknown protocol 'papr'; did you mean 'paper'?\n")


def test_quarters_and_symmetries_are_other_protocols(evaluate):
    whole, chop, ensemble = (
        json.loads(evaluate("repeat.safetensors", "--data", "photos", "--json", *more)[1])["tables"][0]
        for more in ([], ["--forward", "chop"], ["--ensemble", "x8"])
    )
    assert (chop["protocol"]["forward"], ensemble["protocol"]["ensemble"]) == ("chop", "x8")
    assert whole["protocol"] != chop["protocol"] != ensemble["protocol"]
    # To repeat a pixel is the same in pieces and from any side.
    assert whole["rows"][0] == chop["rows"][0] == ensemble["rows"][0]


def test_lr_files_beside_hr_are_taken_and_named_in_the_protocol(evaluate, tmp_path):
    for name, side in (("HR/a.png", 40), ("LR_bicubic/X2/ax2.png", 20)):
        path = tmp_path / "set" / name
        path.parent.mkdir(parents=True)
        Image.fromarray(photograph(0, side, side)).save(path)
    table = json.loads(evaluate("repeat.safetensors", "--data", "set", "--json")[1])["tables"][0]
    assert table["protocol"]["lr"] == "files"


def test_models_of_one_name_are_called_by_their_paths(evaluate, tmp_path):
    (tmp_path / "other").mkdir()
    save_nearest(tmp_path / "other/repeat.safetensors", blue=0.5)
    save_nearest(tmp_path / "other/best.safetensors")
    models = ["repeat.safetensors", "other/repeat.safetensors", "other"]
    rows = json.loads(evaluate(*models, "--data", "photos", "--json")[1])["tables"][0]["rows"]
    names = ["repeat.safetensors", "other/repeat.safetensors", "other", "bicubic"]
    assert [row["model"] for row in rows] == names


def test_a_path_may_hold_an_equals_sign(evaluate, photographs):
    photographs.rename("a=b")
    table = json.loads(evaluate("repeat.safetensors", "--data", "a=b", "--json")[1])["tables"][0]
    assert table["data"] == "a=b"


def test_bare_weights_need_the_words_that_a_file_would_say(evaluate):
    torch.save({"params": {"module.gain": torch.ones(3, 1, 1)}}, "w.pth")
    words = ["--architecture", "nearest", "--scale", "2", "--set", "blue=0.5"]
    code, out, _ = evaluate("w.pth", *words, "--data", "photos", "--json")
    assert code == 0
    assert json.loads(out)["tables"][0]["rows"][0]["model"] == "w"


@pytest.mark.skipif(DATA is None, reason="SRKIT_TEST_DATA is not set")
@pytest.mark.parametrize(("forward", "psnr", "ssim"), [("whole", 38.0581, 0.96072), ("chop", 38.0607, 0.96077)])
def test_the_authors_weights_of_a2n_have_the_scores_of_their_paper_on_set5(call, forward, psnr, ssim):
    folder = Path(str(DATA))
    weights = folder / "golden/weights/aan_x2.pt"
    words = ["--architecture", "a2n", "--set", "img_range=255", "--scale", "2", "--forward", forward]
    threads = torch.get_num_threads()
    torch.set_num_threads(os.cpu_count() or 1)
    try:
        code, out, err = call("eval", weights, *words, "--data", folder / "data/Set5", "--json")
    finally:
        torch.set_num_threads(threads)
    assert (code, err) == (0, "")
    (table,) = json.loads(out)["tables"]
    a2n, bicubic = table["rows"]
    assert (table["data"], table["protocol"]["lr"], next(iter(a2n["images"]))) == ("Set5", "files", "baby")
    # arXiv:2104.09497 prints 38.06 and .9608; the further digits are of the weights that its authors published.
    assert a2n["mean"]["psnr_y"] == pytest.approx(psnr, abs=5e-4)
    assert a2n["mean"]["ssim_y"] == pytest.approx(ssim, abs=2e-5)
    # Papers print 33.66 and .9299, which is Y alone, shrunk in floating point; here LR is the published 8-bit RGB file.
    assert f"{bicubic['mean']['psnr_y']:.2f}" == "33.68"
    assert f"{bicubic['mean']['ssim_y']:.4f}" == "0.9304"


class Canary:
    def __reduce__(self):
        return os.mkdir, ("it_ran",)


@pytest.mark.parametrize("suffix", ["pt", "safetensors", "ckpt"])
def test_code_in_a_pickle_does_not_run(evaluate, tmp_path, suffix):
    path = tmp_path / f"evil.{suffix}"
    path.write_bytes(pickle.dumps({"gain": Canary()}))
    words = ["--architecture", "nearest", "--scale", "2"]
    code, out, err = evaluate(path.name, *words, "--data", "photos")
    assert (code, out, len(err.splitlines())) == (3, "", 1)
    what = "is no whole safetensors file: " if suffix == "safetensors" else "holds no weights that can be read: "
    assert err.startswith(f"srkit eval: {path.name}: {what}")
    torch.save({"gain": Canary()}, path)
    code, out, err = evaluate(path.name, *words, "--data", "photos")
    assert (code, out, len(err.splitlines())) == (3, "", 1)
    assert not (tmp_path / "it_ran").exists()


NEAREST2 = ["--architecture", "nearest", "--scale", "2"]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["gone.pt", *NEAREST2], 3, "gone.pt: there is no such file or run directory"),
        (["text.pt", *NEAREST2], 3, "text.pt: holds no weights that can be read: ..."),
        (["cut.safetensors"], 3, "cut.safetensors: is no whole safetensors file: ..."),
        (["tensor.pt", *NEAREST2], 3, "tensor.pt: holds something other than a state dict of tensors"),
        (
            ["gain.pt"],
            2,
            "gain.pt does not say what network it holds; give --architecture NAME and --scale N",
        ),
        (
            ["gain.pt", "--architecture", "nearest"],
            2,
            "gain.pt does not say its scale, which weights alone do not tell: "
            "those of x2 and x3 and x4 have the same shapes; give --scale N",
        ),
        (
            ["gain.pt", "--architecture", "nearst"],
            2,
            "unknown architecture 'nearst'; did you mean 'nearest'? (installed: a2n, bicubic, ...",
        ),
        (
            ["gain.pt", *NEAREST2, "--set", "blu=1"],
            2,
            "--set blu=1: unknown setting 'blu' of architecture 'nearest'; did you mean 'blue'?",
        ),
        (["gain.pt", *NEAREST2, "--set", "blue"], 2, "--set blue: write KEY=VALUE, as in --set train.steps=500"),
        (
            ["gain.pt", "--architecture", "a2n", "--scale", "5"],
            2,
            "architecture 'a2n': a2n has scales 2, 3 and 4, not 5",
        ),
        (["repeat.safetensors", "--scale", "3"], 2, "repeat.safetensors is a network for scale 2, not 3"),
        (
            ["repeat.safetensors", "--scale", "0"],
            2,
            "argument --scale: a scale is at least 1, not 0; see srkit eval --help",
        ),
        (
            ["repeat.safetensors", "--forward", "tile"],
            2,
            "argument --forward: there is no 'tile'; did you mean 'tiles'?",
        ),
        (["repeat.safetensors", "--set", "blue=1"], 2, "--set needs --architecture: whose setting is it?"),
        (["repeat.safetensors", "repeat3.safetensors"], 2, "the models have scales 2, 3: one at a time"),
        (
            ["repeat.safetensors", "--data", "photos"],
            2,
            "two folders are named 'photos'; give them names, --data NAME=PATH",
        ),
        (["repeat.safetensors", "--data", "x=gone"], 3, "gone: is not there; looked for in ..."),
    ],
)
def test_what_is_wrong_is_one_line(evaluate, model, tmp_path, arguments, code, message):
    Path("text.pt").write_text("hello")
    Path("cut.safetensors").write_bytes(model.read_bytes()[:-5])
    torch.save(torch.ones(3), "tensor.pt")
    torch.save({"gain": torch.ones(3, 1, 1)}, "gain.pt")
    save_nearest(tmp_path / "repeat3.safetensors", scale=3)
    found, out, err = evaluate(*arguments, "--data", "photos")
    assert (found, out, len(err.splitlines())) == (code, "", 1)
    if message.endswith("..."):  # the words of torch and safetensors, which change
        assert err.startswith(f"srkit eval: {message[:-3]}")
    else:
        assert err == f"srkit eval: {message}\n"


def test_weights_that_do_not_fit_are_told_a_line_each(evaluate):
    torch.save({"grain": torch.ones(3)}, "other.pt")
    torch.save({"gain": torch.ones(3)}, "shape.pt")
    does_not_fit = "does not fit 'nearest' at scale 2:"
    assert evaluate("other.pt", *NEAREST2, "--data", "photos") == (
        3,
        "",
        f"other.pt: {does_not_fit} 1 missing, 1 left over; nothing of it would be taken\n"
        "  missing: gain\n  left over: grain (did you mean gain?)\n",
    )
    assert evaluate("shape.pt", *NEAREST2, "--data", "photos") == (
        3,
        "",
        f"shape.pt: {does_not_fit} 1 of another shape; nothing of it would be taken\n"
        "  of another shape: gain is [3] in the file, [3, 1, 1] in the network\n",
    )


def test_a_bad_image_is_named(evaluate, photographs):
    (photographs / "p2.png").write_bytes(b"")
    code, out, err = evaluate("repeat.safetensors", "--data", "photos", "--json")
    assert (code, out, err) == (3, "", "srkit eval: photos/p2.png: is empty\n")


def test_what_a_network_prints_is_not_in_the_json(evaluate, nearest):
    nearest.write_text(nearest.read_text().replace("        return F.", "        print('forward')\n        return F."))
    code, out, err = evaluate("repeat.safetensors", "--data", "photos", "--json")
    assert (code, set(err.splitlines())) == (0, {"forward"})
    assert len(json.loads(out)["tables"]) == 1


def test_bicubic_alone_is_scored_where_the_scale_is_said(evaluate):
    code, out, err = evaluate("--data", "photos", "--scale", "2", "--json")
    (row,) = json.loads(out)["tables"][0]["rows"]
    assert (code, err, row["model"]) == (0, "", "bicubic")
    whole = json.loads(evaluate("repeat.safetensors", "--data", "photos", "--json")[1])["tables"][0]
    assert row == whole["rows"][1]
    code, _, err = evaluate("--data", "photos")
    assert (code, err) == (2, "srkit eval: no MODEL says the scale: give one, or --scale N to score bicubic\n")
    code, _, err = evaluate("--scale", "2")
    told = (
        "srkit eval: there is nothing to score on: give --data FOLDER, or --dataset TYPE:PATH; "
        "for metrics that look at SR alone, --lr FOLDER\n"
    )
    assert (code, err) == (2, told)


def test_all_bad_images_of_a_set_are_named_at_once(evaluate, photographs):
    whole = (photographs / "p1.png").read_bytes()
    (photographs / "p1.png").write_bytes(b"")
    (photographs / "p3.png").write_bytes(whole[: len(whole) // 2])
    Image.new("RGB", (9, 1)).save(photographs / "q.png")
    code, out, err = evaluate("repeat.safetensors", "--data", "photos")
    assert (code, out) == (3, "")
    assert err.splitlines() == [
        "photos/p1.png: is empty",
        "photos/p3.png: cannot be decoded: OSError: image file is truncated",
        "q: is smaller than the scale, 2",
        "3 of 5 images cannot be used: mend or remove them, or pack the others with srkit prepare SRC DST --skip-bad",
    ]


def test_a_set_can_be_any_dataset(evaluate, call):
    assert call("prepare", "photos", "packed.h5", "--scale", "2")[0] == 0
    folder = json.loads(evaluate("repeat.safetensors", "--data", "photos", "--json")[1])["tables"][0]
    words = ["--dataset", "h5:packed.h5", "--dataset", "two=srkit:folder:photos", "--json"]
    code, out, err = evaluate("repeat.safetensors", *words)
    first, second = json.loads(out)["tables"]
    assert (code, err, first["data"], second["data"]) == (0, "", "packed", "two")
    assert first["rows"] == second["rows"] == folder["rows"]
    for text, told in {
        "h6:packed.h5": "unknown dataset 'h6'",
        "h5:": "missing setting 'path' of dataset 'h5' (string or list of strings)",
        "photos": "is a path; say what reads it, folder:photos",
        "packed.h5": "is a path; say what reads it, h5:packed.h5",
        "leaves:photos": "unknown setting 'path' of dataset 'leaves'",
        '{type = "leaves", cout = 1}': "unknown setting 'cout' of dataset 'leaves'; did you mean 'count'?\n",
        "{type = leaves}": """is no table; text stands in quotes, as in '{type = "folder", path = "FOLDER"}'\n""",
    }.items():
        code, _, err = evaluate("repeat.safetensors", "--dataset", text)
        assert (code, err.startswith(f"srkit eval: --dataset {text}: {told}")) == (2, True), err


def test_a_set_can_be_a_table_with_settings(evaluate):
    words = [
        "--dataset",
        '{type = "folder", path = "photos", names = ["p[02]"]}',
        "--dataset",
        'two={type = "leaves", count = 1}',
    ]
    first, second = json.loads(evaluate("repeat.safetensors", *words, "--json")[1])["tables"]
    assert (first["data"], list(first["rows"][0]["images"])) == ("photos", ["p0", "p2"])
    assert (second["data"], len(second["rows"][0]["images"])) == ("two", 1)


def test_a_score_says_the_precision_of_networks_and_bicubic_has_none(evaluate, call):
    plain = json.loads(evaluate("repeat.safetensors", "--data", "photos", "--json")[1])["tables"][0]
    words = ("repeat.safetensors", "--data", "photos", "--precision", "bfloat16")
    table = json.loads(evaluate(*words, "--json")[1])["tables"][0]
    assert table["protocol"] == {**plain["protocol"], "precision": "bfloat16"}
    assert table["rows"][1]["images"] == plain["rows"][1]["images"]
    assert "; forward whole; networks in bfloat16; data " in " ".join(evaluate(*words)[1].split())


def test_scores_in_another_precision_are_those_of_that_image(evaluate):
    torch.manual_seed(0)
    network = srkit.create("architecture", "srresnet", scale=2, features=8, blocks=2)  # it has no form for inference
    found = {
        precision: srkit.evaluate({"a": network}, "photos", metrics=["psnr"], precision=precision)[0]["rows"][0]
        for precision in ("float32", "bfloat16")
    }
    for name, scores in found["bfloat16"]["images"].items():
        hr = srkit.read_image(f"photos/{name}.png")
        hr = hr[: hr.shape[0] // 2 * 2, : hr.shape[1] // 2 * 2]
        sr = srkit.upscale(srkit.create("degradation", "bicubic", scale=2)(hr), network, precision="bfloat16")
        difference = (sr.astype(float) - hr)[2:-2, 2:-2]
        assert scores["psnr"] == pytest.approx(10 * np.log10(255**2 / (difference**2).mean()))
    assert found["bfloat16"]["mean"] != found["float32"]["mean"]


def test_lr_beside_a_folder_can_be_said(evaluate, call, photographs):
    assert call("degrade", "pillow_bicubic", "photos", "small", "--scale", "2")[0] == 0
    code, out, err = evaluate("repeat.safetensors", "--data", "photos", "--lr", "small", "--json")
    table = json.loads(out)["tables"][0]
    assert (code, err, table["data"], table["protocol"]["lr"]) == (0, "", "photos", "files")
    code, _, err = evaluate("repeat.safetensors", "--dataset", "folder:photos", "--lr", "small")
    told = "srkit eval: --lr names the LR images of the folder of one --data; give exactly one\n"
    assert (code, err) == (2, told)


def test_lr_images_without_hr_are_scored_by_what_looks_at_sr_alone(call, nearest, model, photographs, tmp_path):
    (tmp_path / "alone.py").write_text(ALONE)
    assert call("degrade", "bicubic", "photos", "small", "--scale", "2")[0] == 0
    told = ["-p", nearest, "-p", "alone.py", "eval", "repeat.safetensors"]
    with_hr = ["--data", "photos", "--lr", "small", "--metric", "variation", "--json"]
    beside = json.loads(call(*told, *with_hr)[1])["tables"][0]
    code, out, err = call(*told, "--lr", "small", "--metric", "variation", "--json")
    alone = json.loads(out)["tables"][0]
    assert (code, err, alone["data"], alone["protocol"]["lr"]) == (0, "", "small", "files alone")
    assert [row["model"] for row in alone["rows"]] == ["repeat", "bicubic"]
    for row, same in zip(alone["rows"], beside["rows"], strict=True):
        assert row["images"] == same["images"]
    code, out, err = call(*told, "--lr", "small", "--metric", "variation")
    assert (code, err) == (0, "")
    assert "variation on RGB of SR alone; SR rounded to 8 bits; border 2 cut; LR from files, without HR; forward" in out
    Path("small").rename("X2")
    again = call(*told, "--lr", "X{scale}", "--scale", "2", "--metric", "variation", "--json")
    assert json.loads(again[1])["tables"][0]["rows"] == alone["rows"]
    refused = "srkit eval: --lr with {scale} needs --scale where there is no --data\n"
    assert call(*told, "--lr", "X{scale}", "--metric", "variation") == (2, "", refused)
    code, out, err = call(*told, "--lr", "X2")
    assert (code, out, err) == (
        2,
        "",
        "srkit eval: metric 'psnr_y' compares SR with HR, and there is none: give metrics that look at SR alone\n",
    )


def test_finished_images_are_a_row(evaluate, call, nearest):
    assert call("degrade", "bicubic", "photos", "small", "--scale", "2")[0] == 0
    assert call("-p", nearest, "upscale", "repeat.safetensors", "small", "-o", "made")[0] == 0
    code, out, err = evaluate("repeat.safetensors", "--data", "photos", "--images", "other=made", "--json")
    first, second, _ = json.loads(out)["tables"][0]["rows"]
    assert (code, err, second["model"], second["images"]) == (0, "", "other", first["images"])
    assert second["difference"]["psnr_y"]["mean"] == 0.0
    code, _, err = evaluate("--data", "photos", "--scale", "2", "--images", "made")
    assert (code, err) == (2, "srkit eval: --images made: write NAME=FOLDER; NAME is the row's\n")


def test_an_exact_image_is_named_and_no_hint_speaks_of_it(evaluate, photographs):
    Image.new("RGB", (40, 40)).save(photographs / "black.png")
    code, out, err = evaluate("repeat.safetensors", "--data", "photos")
    lines = out.splitlines()
    assert (code, err) == (0, "")
    assert "inf " not in out
    assert lines[3:5] == [
        f"{row}: psnr_y is infinite on 1 of 5 images, exact (black): no mean has them" for row in ("repeat", "bicubic")
    ]
    shown = evaluate("repeat.safetensors", "--data", "photos", "--table", "latex")[1].splitlines()
    assert shown[0] == f"% {lines[3]}"


def test_weights_from_elsewhere_that_are_below_bicubic_are_asked_about_their_range(call, photographs):
    """A network that repeats each pixel is a little below bicubic, whatever the range."""
    network = srkit.create("architecture", "a2n", scale=2, features=4, blocks=1, upsampling_features=4)
    torch.save(network.state_dict(), "w.pt")
    words = ["w.pt", "--architecture", "a2n", "--data", "photos", "--scale", "2"]
    small = [f"--set={text}" for text in ("features=4", "blocks=1", "upsampling_features=4")]
    told = "w is {}below bicubic: does it take values of 0..{}? --set img_range={} gives it those of 0..{}\n"
    code, _, err = call("eval", *words, *small)
    assert (code, err.replace("far ", "")) == (0, told.format("", 1, 255, 255))
    code, _, err = call("eval", *words, *small, "--set", "img_range=255")
    assert (code, err.replace("far ", "")) == (0, told.format("", 255, 1, 1))


def test_weights_from_elsewhere_bring_the_hint_where_srkits_own_do_not(call, nearest, photographs):
    torch.save({"gain": torch.ones(3, 1, 1)}, "w.pt")
    words = ["--data", "photos", "--metric", "psnr"]
    save_nearest(Path("own.safetensors"))
    assert call("-p", nearest, "eval", "own.safetensors", *words)[2] == ""
    hint = "w is below bicubic: is it trained, and does it take values of 0..1?\n"
    foreign = ["w.pt", "--architecture", "nearest", "--scale", "2"]
    assert call("-p", nearest, "eval", *foreign, *words)[2] == hint
    assert call("-p", nearest, "convert", *foreign, "c.safetensors")[0] == 0
    assert call("-p", nearest, "eval", "c.safetensors", *words)[2] == hint.replace("w ", "c ", 1)


@pytest.mark.skipif(DATA is None, reason="needs SRKIT_TEST_DATA")
def test_a_flat_image_of_a_set_hides_no_other(call):
    case = Path(DATA) / "cases" / "eval-one-flat-image"
    code, out, err = call("eval", case / "vb.safetensors", "--data", case / "vblack")
    assert (code, err) == (0, "")
    assert "bicubic: psnr_y is infinite on 1 of 2 images, exact (black): no mean has them" in out.splitlines()
    assert "inf" not in out.replace("infinite", "")
    code, out, err = call("eval", case / "z1.safetensors", case / "z2.safetensors", "--data", case / "flat")
    assert (code, "nan" in out) == (0, False)
    assert "z2 minus z1: psnr_y 0.00, ssim_y 0.0000 [0.0000, 0.0000] (95 %)" in out
    for row in ("z1", "z2", "bicubic"):
        assert f"{row}: psnr_y is infinite on 2 of 3 images, exact (black, white): no mean has them" in out


def test_a_run_without_its_best_weights_says_how_to_continue_it(call, tmp_path):
    (tmp_path / "r").mkdir()
    assert call("eval", "r", "--data", ".") == (3, "", "srkit eval: r: is a folder without best.safetensors\n")
    (tmp_path / "r" / "recipe.toml").write_text("scale = 2")
    told = (
        "srkit eval: r: is a run that has no best.safetensors yet: it was stopped before its first validation; "
        "to continue it: srkit run r/recipe.toml --out r\n"
    )
    assert call("eval", "r", "--data", ".") == (3, "", told)


def test_a_set_without_a_name_before_the_equals_sign_is_refused(call, photographs):
    assert call("eval", "--data", "=photos", "--scale", 2) == (
        2,
        "",
        "srkit eval: --data =photos: there is no name before '='; write NAME=PATH, or the path alone\n",
    )
