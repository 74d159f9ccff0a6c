"""The trackers, each run for real: what TensorBoard, W&B, MLflow and Visdom have of a run that was continued."""

from __future__ import annotations

import importlib.util
import json
import socket
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from srkit_trackers import naming

import srkit
from srkit import Picture

LOGGED = {"loss/l1", "loss/total", "learning_rate", "images_per_s", "it_per_s", "epoch", "data_share"}
SCORED = {f"{group}/photos/{metric}" for group in ("metrics", "bicubic") for metric in ("psnr_y", "ssim_y")}
PICTURES = {f"photos/p{number}" for number in range(4)}


def needs(package):
    try:
        importlib.import_module(package)
    except ImportError:
        return pytest.mark.skip(reason=f"{package} is not installed")
    return lambda test: test


def train(observer):
    """Train six steps in two runs, of which the second repeats two: the first ends behind its last checkpoint."""
    common = ["train.log_every=1", "train.validate_every=2", "train.checkpoint_every=2", f"observer=[{observer}]"]
    srkit.run("tiny.toml", out="run", set=[*common, "train.steps=4"])
    newest = max(Path("run/checkpoints").iterdir())
    for path in sorted(newest.iterdir()):
        path.unlink()
    newest.rmdir()
    srkit.run("tiny.toml", out="run", set=[*common, "train.steps=6"])


def expected(name):
    """Return a value by step, as metrics.jsonl has it, of the part of the run that counts."""
    records = [json.loads(line) for line in Path("run/metrics.jsonl").read_text().splitlines()]
    if name == "loss":
        return {record["step"]: record["loss"] for record in records if record["event"] == "logged"}
    means = {r["step"]: r["tables"][0]["rows"][0]["mean"] for r in records if r["event"] == "validated"}
    return {step: mean[name] for step, mean in means.items()}


@needs("tensorboard")
def test_tensorboard_has_the_curves_and_pictures_of_a_continued_run_once(tiny):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    train('{type="tensorboard"}')
    found = EventAccumulator("run/tensorboard", size_guidance={"images": 0})
    found.Reload()
    tags = found.Tags()
    assert set(tags["scalars"]) == LOGGED | SCORED
    assert {name.rpartition(".")[0] or name for name in tags["images"]} == PICTURES
    for tag, name in (("loss/total", "loss"), ("metrics/photos/psnr_y", "psnr_y")):
        values = {event.step: event.value for event in found.Scalars(tag)}
        assert list(values) == [event.step for event in found.Scalars(tag)]  # each step once, in their order
        assert values == pytest.approx(expected(name))


def leveldb_log(data):
    """Yield the records of a W&B file: LevelDB's log format, in blocks of 32 KiB, behind seven bytes of its own."""
    at, record = 7, b""
    while at + 7 <= len(data):
        if 32_768 - at % 32_768 < 7:
            at += 32_768 - at % 32_768
            continue
        _, length, kind = struct.unpack("<IHB", data[at : at + 7])
        record = (b"" if kind in (1, 2) else record) + data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # whole, or its last part
            yield record


@needs("wandb")
def test_wandb_offline_has_a_run_that_goes_on_under_its_id(tiny):
    from wandb.proto import wandb_internal_pb2

    train('{type="wandb", mode="offline", project="mine"}')
    kept = json.loads(Path("run/wandb.json").read_text())
    assert kept["project"] == "mine"
    files = sorted(Path("run/wandb").glob("offline-run-*/*.wandb"))
    assert {path.name for path in files} == {f"run-{kept['id']}.wandb"}
    losses, keys = {}, set()
    for path in files:
        for data in leveldb_log(path.read_bytes()):
            record = wandb_internal_pb2.Record()
            record.ParseFromString(data)
            row = {(item.nested_key or [item.key])[0]: json.loads(item.value_json) for item in record.history.item}
            keys |= set(row)
            if "loss/total" in row:
                losses[row["step"]] = row["loss/total"]
    assert keys >= LOGGED | SCORED | PICTURES
    assert losses == pytest.approx(expected("loss"))


@needs("mlflow")
def test_mlflow_has_a_run_that_goes_on_under_its_id(tiny, monkeypatch):
    from mlflow import MlflowClient

    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    uri = (Path.cwd() / "mlruns").as_uri()
    train(f'{{type="mlflow", uri="{uri}", experiment="mine"}}')
    client = MlflowClient(tracking_uri=uri)
    (run,) = client.search_runs([client.get_experiment_by_name("mine").experiment_id])
    assert json.loads(Path("run/mlflow.json").read_text())["id"] == run.info.run_id
    assert run.info.status == "FINISHED"
    assert run.data.params["recipe.architecture.type"] == "a2n"
    assert set(run.data.metrics) == LOGGED | SCORED
    history = client.get_metric_history(run.info.run_id, "metrics/photos/psnr_y")
    assert {metric.step: metric.value for metric in history} == pytest.approx(expected("psnr_y"))
    assert len(client.list_artifacts(run.info.run_id, "images")) >= len(PICTURES)


SERVER = """
import sys
from visdom.server.run_server import start_server
start_server(base_url="", port=int(sys.argv[1]), hostname="127.0.0.1", env_path=sys.argv[2])
"""


@pytest.fixture
def visdom_server(tmp_path):
    """A Visdom server on the loopback; it would download its page's scripts first, which are not needed here."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    (tmp_path / "visdom").mkdir()
    command = [sys.executable, "-u", "-c", SERVER, str(port), str(tmp_path / "visdom")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        assert "Alive" in server.stdout.readline()
        while True:
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except ConnectionRefusedError:
                assert server.poll() is None
        yield port
        server.kill()


@needs("visdom")
@pytest.mark.filterwarnings("ignore:The 'warn' method is deprecated")  # in visdom itself
def test_visdom_draws_the_whole_of_a_continued_run(tiny, visdom_server):
    import visdom

    train(f'{{type="visdom", server="http://127.0.0.1", port={visdom_server}}}')
    client = visdom.Visdom("http://127.0.0.1", port=visdom_server, env="run", use_incoming_socket=False)
    windows = json.loads(client.get_window_data())
    assert set(windows) == LOGGED | SCORED | PICTURES
    for window, name in (("loss/total", "loss"), ("metrics/photos/psnr_y", "psnr_y")):
        (line,) = windows[window]["content"]["data"]
        assert dict(zip(line["x"], line["y"], strict=True)) == pytest.approx(expected(name))


@needs("visdom")
@pytest.mark.filterwarnings("ignore:The 'warn' method is deprecated")
def test_a_tracker_without_its_server_is_dropped_with_one_warning(tiny, caplog):
    srkit.run("tiny.toml", out="run", set=['observer=[{type="visdom", port=1}]', "train.steps=2"])
    warned = [record.message for record in caplog.records if "visdom" in record.message and record.name == "srkit"]
    assert len(warned) == 1
    assert warned[0].endswith("; it is dropped")
    assert Path("run/last.safetensors").exists()


def test_a_tracker_that_is_not_installed_says_what_to_install():
    found = {component.name: component.missing for component in srkit.components("observer")}
    for name, package in (
        ("tensorboard", "tensorboard"),
        ("wandb", "wandb"),
        ("mlflow", "mlflow"),
        ("visdom", "visdom"),
    ):
        installed = importlib.util.find_spec(package) is not None
        assert found[name] == ("" if installed else f"it needs {package}: pip install 'srkit[{name}]'")


def test_names_are_those_of_the_losses_and_of_the_sets():
    assert naming.scalars({"loss": 1.5, "l1": 0.5, "perceptual": 1.0, "eta_s": 3.0, "epoch": 2.0}) == {
        "loss/l1": 0.5,
        "loss/perceptual": 1.0,
        "loss/total": 1.5,
        "epoch": 2.0,
    }
    rows = [
        {"model": "a2n", "mean": {"psnr_y": 30.0, "x": float("nan")}},
        {"model": "bicubic", "mean": {"psnr_y": 28.0}},
    ]
    tables = [{"data": "Set5", "scale": scale, "rows": rows} for scale in (2, 2.7)]
    assert list(naming.scores(tables)) == [
        "metrics/Set5_x2/psnr_y",
        "bicubic/Set5_x2/psnr_y",
        "metrics/Set5_x2.7/psnr_y",
        "bicubic/Set5_x2.7/psnr_y",
    ]


def test_a_picture_without_bicubic_has_two_parts():
    sr = np.zeros((4, 6, 3), np.uint8)
    found = dict(naming.images([Picture("a", "x", None, sr, sr), Picture("a", "y", sr, sr, sr)]))
    assert {name: image.shape for name, image in found.items()} == {"a/x": (4, 12, 3), "a/y": (4, 18, 3)}
