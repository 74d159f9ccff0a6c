"""The page on runs: what it says, what it holds, and what a browser makes of it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

import srkit
from srkit.api import installed
from srkit.reports import plot
from srkit.reports.curves import Curve
from srkit.reports.page import page
from srkit.reports.runs import named_runs
from srkit.reports.sweeps import Member
from tests.conftest import HANGS

BROWSER = shutil.which("chromium")
OPTIONS = ["--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=5000", "--enable-logging=stderr"]
SCRIPT = """
<script>
window.addEventListener("load", () => {
  const group = document.querySelector(".pictures"), range = group.querySelector("input");
  const [left, right] = group.querySelectorAll("select"), stage = group.querySelector(".stage");
  const at = () => [stage.style.getPropertyValue("--at"), getComputedStyle(stage.querySelector(".over")).clipPath];
  const found = { sliders: document.querySelectorAll("input").length, before: at() };
  range.value = 20; range.dispatchEvent(new Event("input"));
  found.after = at();
  const width = name => group.querySelector(name).getBoundingClientRect().width;
  found.width = group.querySelector("img").naturalWidth;
  found.widths = [width(".stage"), width(".window"), width(".slider")];
  group.querySelectorAll("button")[2].click();
  found.zoomed = stage.offsetWidth;
  found.choices = [...left.options].map(option => option.text);
  found.sides = [left.value, right.value];
  right.value = "HR"; right.dispatchEvent(new Event("change"));
  found.right = stage.querySelector(".over").alt;
  const lines = [...document.querySelectorAll("svg polyline")];
  found.lines = lines.map(line => getComputedStyle(line).fill);
  const letters = [...document.querySelectorAll("svg text")];  // a line is about 1.15 of the size of its letters
  found.small = letters.map(text => text.getBoundingClientRect().height).filter(height => height < 9.5 * 1.15);
  const seen = [...document.querySelectorAll(".scores, .scores td, .commands")];
  const boxes = seen.map(box => box.matches("table") ? box.parentElement : box);
  found.cut = boxes.filter(box => box.scrollWidth > box.clientWidth).map(box => box.className);
  found.wide = document.documentElement.scrollWidth > window.innerWidth;
  document.body.replaceChildren(Object.assign(document.createElement("pre"), { textContent: JSON.stringify(found) }));
});
</script>
"""


@pytest.fixture
def run(tiny):
    srkit.run("tiny.toml", out="run", set=["train.validate_every=2", "train.log_every=1"])
    return Path("run")


def text_of(path):
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", path.read_text("utf-8")))


def test_a_run_writes_its_page_with_scores_curves_pictures_and_recipe(run):
    page = (run / "report.html").read_text("utf-8")
    text = text_of(run / "report.html")
    assert "step 6 of 6, finished, on cpu" in text
    for line in (run / "metrics.jsonl").read_text().splitlines():
        if json.loads(line)["event"] == "validated":
            mean = json.loads(line)["tables"][0]["rows"][0]["mean"]["psnr_y"]
    assert f" {mean:.2f} " in text
    assert "95 % interval" in text
    assert "LR by bicubic" in text  # of the protocol
    assert [plot for plot in re.findall(r"<figcaption>([^<]*)</figcaption>", page) if " " in plot] == [
        "photos x2 psnr_y",
        "photos x2 ssim_y",
        "loss: l1",
        "learning rate",
    ]
    assert page.count("data:image/webp;base64,") == 4 * 3  # of the first four images: bicubic, network, HR
    assert 'type = "a2n"' in text.replace("&#34;", '"')
    assert "srkit upscale run/best.safetensors photo.jpg -o out/run/" in text


def test_a_page_needs_nothing_but_itself(run):
    page = (run / "report.html").read_text("utf-8")
    assert "default-src 'none'; img-src data:" in page
    assert not re.search(r"""(src|href|url)\s*[=(]\s*["']?(?!data:)[a-z./]""", page.split("<script>", maxsplit=1)[0])


def test_what_is_long_is_folded_and_a_recipe_has_no_empty_tables(run):
    assert "\n[start]\n" in (run / "recipe.toml").read_text("utf-8")
    page = (run / "report.html").read_text("utf-8")
    assert "<details open" not in page
    recipe = page.partition("<summary>Recipe</summary><pre>")[2].partition("</pre>")[0]
    tables = re.findall(r"^\[.*", recipe, re.MULTILINE)
    assert "[start]" not in tables
    assert {"[architecture]", "[data]", "[[validate]]", "[train]"} <= set(tables)


def test_a_run_that_was_made_longer_says_why_its_learning_rate_jumps(run):
    longer = ["train.validate_every=2", "train.log_every=1", "train.steps=8"]
    assert "Dotted" not in text_of(run / "report.html")
    srkit.run("tiny.toml", out="run", set=longer)
    assert (
        "Dotted: step 6, where the run went on with 8 steps in place of 6; "
        "from there the learning rate follows the new schedule." in text_of(run / "report.html")
    )
    page = (run / "report.html").read_text("utf-8")
    assert page.count('class="mark"') == page.count("<svg ") == 4


def test_several_runs_stand_side_by_side_and_what_differs_comes_first(run):
    srkit.run("tiny.toml", out="other", set=["optimizer.lr=0.03125", "train.steps=2"])
    path = srkit.report("run", "other/metrics.jsonl", out="both.html")
    assert path == Path("both.html")
    text = text_of(path)
    assert text.index("What differs") < text.index("Scores") < text.index("Pictures") < text.index("Curves")
    assert re.search(r"optimizer\.lr \S+ 0\.03125", text)
    assert "run at step 6, other at step 2" in text
    assert path.read_text("utf-8").count("data:image/webp;base64,") == 4 * 4  # bicubic, two networks, HR
    with pytest.raises(srkit.UsageError, match=r"^a report on several runs needs a place: -o FILE, or out=FILE"):
        srkit.report("run", "other")


@pytest.mark.parametrize(("bicubic", "marked"), [(99.0, "best"), (-99.0, "best good")])
def test_a_sweep_has_one_table_whose_best_row_is_green_where_it_is_above_bicubic(run, bicubic, marked):
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    rows = [table["rows"] for record in records if record["event"] == "validated" for table in record["tables"]]
    recipe = (run / "recipe.toml").read_text()
    for name, score in (("good", 20.0), ("worse", 10.0)):
        shutil.copytree(run, name)
        Path(name, "recipe.toml").write_text(re.sub(r"^lr = .*", f"lr = {score}", recipe, flags=re.MULTILINE))
        for own, other in rows:
            own["mean"]["psnr_y"], other["mean"]["psnr_y"] = score, bicubic
        Path(name, "metrics.jsonl").write_text("".join(f"{json.dumps(record)}\n" for record in records))
    members = [Member(name, {"optimizer.lr": name}, None, name, "finished") for name in ("good", "worse")]
    html = page(named_runs([Path("good"), Path("worse")]), installed(), sweep=members, title="Sweep of tiny")
    assert re.findall(r'<tr class="([^"]*)"><td class="whole">(\w+)</td>', html) == [(marked, "good")]
    assert re.findall("<h2>(.*)</h2>", html)[:2] == ["The sweep", "Pictures"]
    assert "<details><summary>The scores of each run</summary>" in html


def test_foreign_text_is_text_and_foreign_files_are_no_pictures(run):
    (run / "recipe.toml").write_text((run / "recipe.toml").read_text().replace("title = ", 'title = "<script>x" #'))
    latest = run / "samples" / "latest"
    records = json.loads((latest / "pictures.json").read_text())
    shutil.copy(latest / records["pictures"][0]["files"]["HR"], run / "outside.webp")
    (latest / "text.webp").write_text("RIFF of no picture")
    records["pictures"][0]["files"]["HR"] = "../../outside.webp"
    records["pictures"][1]["files"]["network"] = "text.webp"
    records["pictures"][2]["name"] = "<img src=x>"
    (latest / "pictures.json").write_text(json.dumps(records))
    page = srkit.report("run").read_text("utf-8")
    assert "&lt;script&gt;x" in page
    assert page.count("<script>") == 1
    assert "&lt;img src=x&gt;" in page
    assert page.count("data:image/webp;base64,") == 2 * 3


@pytest.mark.parametrize("damage", ["{", "[]", '{"step": 1, "pictures": [3]}', '{"pictures": [{}]}'])
def test_damaged_pictures_leave_a_page_without_them(run, damage):
    (run / "samples" / "latest" / "pictures.json").write_text(damage)
    assert "data:image" not in srkit.report("run").read_text("utf-8")


def test_a_run_that_has_only_begun_has_a_page_that_says_so(run):
    (run / "metrics.jsonl").unlink()
    text = text_of(srkit.report("run"))
    assert "not ended" in text
    assert "no scores yet" in text
    assert "srkit run run/recipe.toml --out run" in text


def test_a_page_that_cannot_be_written_is_warned_of_once_and_the_run_goes_on(tiny, caplog):
    srkit.run("tiny.toml", out="run", set=["train.steps=1", "train.validate_every=1"])
    Path("run/report.html").unlink()
    Path("run/report.html").mkdir()
    srkit.run("tiny.toml", out="run", set=["train.steps=3", "train.validate_every=1"])
    warned = [record.message for record in caplog.records if "report" in record.message]
    assert warned == ["the report cannot be written: run/report.html: Is a directory"]


def test_curves_have_gaps_where_they_are_not_finite_and_few_points_where_they_are_long():
    curve = Curve("loss", "l1", {"run": {1: 1.0, 2: 0.9, 3: None, 4: 0.7, 5: 0.6}}, "lowest")
    assert plot.svg(curve, {"run": "#000"}).count("<polyline") == 2
    long = Curve("loss", "l1", {"run": {step: 1 / step for step in range(1, 100_001)}}, "lowest")
    drawn = plot.svg(long, {"run": "#000"})
    assert len(drawn) < 20_000
    assert ">100,000<" in drawn
    assert ">0.001<" in drawn  # a decade of a logarithmic axis
    rates = plot.svg(Curve("learning rate", "", {"run": {1: 2.5e-4, 2: 0.0}}, ""), {"run": "#000"})
    assert re.findall(r'"end">([^<]*)</text>', rates)[:6] == ["0", "5e-5", "1e-4", "1.5e-4", "2e-4", "2.5e-4"]
    assert plot.svg(Curve("loss", "l1", {"run": {1: None}}, ""), {"run": "#000"}) == ""
    assert ">log scale<" in drawn
    assert plot.svg(long, {"run": "#000"}, marks=[600, 100_001]).count('class="mark"') == 1  # none beyond the curve
    assert ">step<" in drawn
    flat = plot.svg(Curve("Set5 x2", "psnr_y", {"run": {1: 30.0}}, ""), {"run": "#000"}, level=30.0)
    assert 'class="level"' in flat


@pytest.mark.parametrize(
    "values", [(23.1, 31.45), (0.0193, 0.0429), (0.02, 0.3), (3e-8, 4e-3), (0.9, 31.0), (7.0, 7.0)]
)
@pytest.mark.parametrize("name", ["loss", "Set5 x2"])
def test_the_grid_of_a_curve_encloses_it(name, values):
    drawn = plot.svg(Curve(name, "", {"run": dict(enumerate(values, start=1))}, ""), {"run": "#000"})
    lines = [float(y) for y in re.findall(r'class="grid" .*? y1="([\d.]+)"', drawn)]
    (points,) = re.findall(r'points="(.*?)"', drawn)
    heights = [float(point.split(",")[1]) for point in points.split()]
    assert min(lines) <= min(heights) <= max(heights) <= max(lines)
    assert 3 <= len(lines) <= 8
    assert lines == sorted(set(lines), reverse=True)


@pytest.mark.skipif(BROWSER is None, reason="there is no Chromium")
@pytest.mark.parametrize("width", [390, 1200])
def test_in_a_browser_the_slider_moves_pictures_are_enlarged_and_nothing_is_wrong(run, tmp_path, width):
    path = tmp_path / "tried.html"
    page = (run / "report.html").read_text("utf-8")
    assert "<td>run</td>" in page
    page = page.replace("<td>run</td>", "<td>a_run_of_a_long_name</td>")
    path.write_text(page.replace("</body>", f"{SCRIPT}</body>"), encoding="utf-8")
    window = [f"--window-size={width},900", f"--user-data-dir={tmp_path / 'profile'}"]
    done = subprocess.run(
        [BROWSER, *OPTIONS, *window, "--dump-dom", path.as_uri()], capture_output=True, text=True, timeout=HANGS
    )
    assert "CONSOLE" not in done.stderr  # no error, and nothing asked of a network, which the page's policy refuses
    found = json.loads(re.search(r"<pre>(.*?)</pre>", done.stdout, re.DOTALL)[1])
    assert found["sliders"] == 4
    assert found["before"] == ["50%", "inset(0px 0px 0px 50%)"]
    assert found["after"] == ["20%", "inset(0px 0px 0px 20%)"]
    assert found["widths"] == [4 * found["width"]] * 3  # a whole factor; the slider's thumb is below the divider
    assert found["zoomed"] == 4 * found["width"] > 0
    assert found["small"] == []
    assert found["cut"] == []
    assert found["choices"] == ["bicubic", "network", "HR"]
    assert found["sides"] == ["bicubic", "network"]
    assert found["right"].endswith(": HR")
    assert set(found["lines"]) == {"none"}
    assert not found["wide"]
