import os
import signal
import subprocess
import sys
import tracemalloc
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from srkit import files
from srkit.cli import films
from tests.conftest import HANGS, ROOT
from tests.video.films import RATE, TICKS, decoded, packets, same_frames, save_film, seconds, times

av = pytest.importorskip("av")


@pytest.fixture
def upscale(call, nearest, model):
    """Run `srkit -p nearest.py upscale repeat.safetensors ...`; return (exit code, stderr)."""

    def run(*arguments, weights=model):
        code, out, err = call("-p", nearest, "upscale", weights, *arguments)
        assert out == ""
        return code, err

    return run


def stream_of(path):
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        context = stream.codec_context
        colors = context.colorspace, context.color_primaries, context.color_trc, context.color_range
        return stream.average_rate, context.format.name, tuple(map(int, colors)), stream.sample_aspect_ratio


def refused(line):
    return 2, f"srkit upscale: {line}\n"


def twice(plane):
    return plane.repeat(2, 0).repeat(2, 1)


def test_frames_go_through_the_network_and_keep_their_times(upscale, tmp_path):
    film = save_film(tmp_path / "film.mkv", codec="ffv1", format="yuv444p")
    done = upscale(film, "-o", "large.mkv", "--codec", "ffv1")
    assert done == (0, f"12 frames of {film} enlarged, in large.mkv\n")
    before, after = decoded(film), decoded(Path("large.mkv"))
    assert [time for time, _ in after] == [time for time, _ in before]
    for (_, small), (_, large) in zip(before, after, strict=True):
        for one, two in zip(small, large, strict=True):
            assert np.abs(twice(one) - two).max() <= 1  # to RGB of 8 bits and back
    assert sorted(os.listdir()) == ["film.mkv", "large.mkv", "nearest.py", "repeat.safetensors"]


@pytest.mark.parametrize("variable", [False, True], ids=["24000/1001", "variable"])
def test_times_are_kept_exactly_where_the_container_holds_them(upscale, tmp_path, variable):
    film = save_film(tmp_path / "film.mp4", count=30, variable=variable)
    assert upscale(film, "-o", "large.mp4", "--part", 8)[0] == 0
    assert seconds(Path("large.mp4")) == [time * TICKS for time in times(30, variable=variable)]
    assert variable or stream_of("large.mp4")[0] == RATE
    assert upscale(film, "-o", "large.mkv", "--part", 8)[0] == 0  # which has milliseconds
    wrong = [abs(a - b) for a, b in zip(seconds(Path("large.mkv")), seconds(Path("large.mp4")), strict=True)]
    assert max(wrong) <= Fraction(1, 2000)


def test_sound_and_subtitles_are_kept_in_every_stream(upscale, tmp_path):
    film = save_film(tmp_path / "film.mp4", sound=2, subtitles="mov_text")
    assert upscale(film, "-o", "large.mkv")[0] == 0
    with av.open("large.mkv") as container:
        streams = [
            (stream.type, getattr(stream.codec_context, "name", None), stream.language) for stream in container.streams
        ]
    sound = [("audio", "aac", "deu"), ("audio", "aac", "eng")]
    assert streams == [("video", "h264", None), *sound, ("subtitle", "srt", None)]
    start = packets(Path("large.mkv"), 0)[0][1] - packets(film, 0)[0][1]
    for number in (1, 2):
        before, after = packets(film, number), packets(Path("large.mkv"), number)
        assert [data for data, _ in before] == [data for data, _ in after]
        shifts = [late - time - start for (_, time), (_, late) in zip(before, after, strict=True)]
        assert max(map(abs, shifts)) <= 0.0011  # milliseconds
    assert [data for data, _ in packets(Path("large.mkv"), 3)] == [b"one", b"two"]
    assert upscale(film, "-o", "large.mp4")[0] == 0
    texts = [[text for text in packets(path, 3) if len(text[0]) > 2] for path in (film, Path("large.mp4"))]
    assert texts[0] == texts[1]  # but for empty ones, where nothing is shown


def test_ten_bits_and_colour_tags_are_kept(upscale, tmp_path):
    hdr = (9, 9, 16, 1)  # BT.2020, PQ, television's range
    film = save_film(tmp_path / "film.mkv", count=3, codec="ffv1", format="yuv444p10le", colors=hdr, size=(40, 48))
    assert upscale(film, "-o", "lossless.mkv", "--codec", "ffv1")[0] == 0
    for (_, small), (_, large) in zip(decoded(film), decoded(Path("lossless.mkv")), strict=True):
        for one, two in zip(small, large, strict=True):
            inside = (one > 64) & (one < 900)  # others lie outside of RGB's cube with their chroma
            assert np.percentile(np.abs(twice(one) - two)[twice(inside)], 50) <= 1
    assert len(np.unique(decoded(Path("lossless.mkv"))[0][1][0] % 4)) == 4  # the two bits that 8 lack
    assert upscale(film, "-o", "large.mp4", "--quality", 90)[0] == 0
    assert stream_of("large.mp4")[1:3] == ("yuv444p10le", hdr)


def test_pixels_that_are_not_square_stay_so(upscale, tmp_path):
    film = save_film(tmp_path / "film.mp4", count=3, aspect=Fraction(16, 15))
    assert upscale(film, "-o", "large.mkv")[0] == 0
    assert stream_of("large.mkv")[3] == Fraction(16, 15)
    assert upscale(film, "-o", "av1.mkv", "--codec", "av1") == refused(
        f"{film} has pixels of 16:15, which --codec av1 does not keep in a .mkv: take h264 or hevc"
    )


@pytest.mark.parametrize("codec", ["hevc", "av1", "prores"])
def test_each_codec_writes_what_is_read_again(upscale, tmp_path, codec):
    film = save_film(tmp_path / "film.mp4", count=10, size=(36, 40))
    assert upscale(film, "-o", "large.mkv", "--codec", codec, "--part", 4)[0] == 0
    assert len(decoded(Path("large.mkv"))) == 10
    assert stream_of("large.mkv")[1] == {"prores": "yuv422p10le"}.get(codec, "yuv420p")


def test_a_better_quality_makes_a_larger_file(upscale, tmp_path):
    film = save_film(tmp_path / "film.mp4")
    for quality in (30, 90):
        assert upscale(film, "-o", f"{quality}.mkv", "--quality", quality)[0] == 0
    assert Path("90.mkv").stat().st_size > 1.5 * Path("30.mkv").stat().st_size


def test_films_go_to_a_folder_under_their_names_and_are_not_done_again(upscale, tmp_path):
    a, b = save_film(tmp_path / "a.mp4", count=2), save_film(tmp_path / "b.avi", count=2, codec="mpeg4", ticks=1 / RATE)
    assert upscale(a, b, "-o", "out", "--suffix", "_x2")[0] == 0
    assert sorted(os.listdir("out")) == ["a_x2.mp4", "b_x2.mkv"]
    there = "out/{} is there already (--overwrite replaces it)\n"
    assert upscale(a, b, "-o", "out", "--suffix", "_x2") == (0, there.format("a_x2.mp4") + there.format("b_x2.mkv"))
    assert upscale(a, "-o", "out/a_x2.mp4", "--overwrite") == (0, f"2 frames of {a} enlarged, in out/a_x2.mp4\n")


# A child of this process, which has imported everything, is killed in the network's tenth batch, and then before each
# of its first operations on the disk, again and again.
KILLED = """\
import os, signal, sys
from srkit import files
from srkit.cli import main
import srkit.engine.scoring.tiler, srkit.engine.weights.model

command = sys.argv[1:]

def child(at, of):
    seen = 0
    def count(what):
        nonlocal seen
        seen += what == of
        if seen == at:
            os.kill(os.getpid(), signal.SIGKILL)
    pid = os.fork()
    if not pid:
        if of == "batch":
            from srkit.engine.scoring.tiler import Tiler
            import torch
            torch.nn.Module.register_forward_pre_hook
            torch.nn.modules.module.register_module_forward_pre_hook(lambda *_: count("batch"))
        with files.watched(lambda operation: count("operation")):
            os._exit(main(command))
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

codes = [child(10, "batch")] + [child(at, "operation") for at in range(1, 40)]
print(codes)
"""


def test_a_film_that_was_killed_again_and_again_is_the_one_that_never_was(upscale, tmp_path, nearest, model):
    film = save_film(tmp_path / "film.mp4", count=150, variable=True, sound=1)
    Path("killed.py").write_text(KILLED)
    command = [sys.executable, "killed.py", "-p", nearest, "upscale", model, film, "-o", "large.mp4", "--part", "20"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, timeout=HANGS, env=environment)
    codes = [int(code) for code in done.stdout.strip("[]\n").split(", ")]
    kills = codes.index(0)
    assert codes[:kills] == [-signal.SIGKILL] * kills, done.stderr
    assert kills > 10
    assert done.stderr.startswith("150 frames of")
    assert upscale(film, "-o", "never.mp4", "--part", 20)[0] == 0
    assert same_frames(Path("large.mp4"), Path("never.mp4"))
    assert Path("large.mp4").read_bytes() == Path("never.mp4").read_bytes()
    assert not Path("large.mp4.parts").exists()


def test_a_signal_stops_it_and_the_same_command_continues(upscale, tmp_path, nearest):
    film = save_film(tmp_path / "film.mp4", count=60)
    kind = nearest.read_text()
    stops = "        if not hasattr(torch, 'stopped'):\n            torch.stopped = 1\n"
    stops += f"            import os\n            os.kill(os.getpid(), {int(signal.SIGTERM)})\n"
    nearest.write_text(kind.replace("    def forward(self, x):\n", f"    def forward(self, x):\n{stops}"))
    import torch

    try:
        stopped = upscale(film, "-o", "large.mp4", "--part", 16)
    finally:
        del torch.stopped
    assert stopped == (
        75,
        "stopped by SIGTERM; large.mp4 is not written yet\nto continue, run the same command again\n",
    )
    nearest.write_text(kind)
    assert upscale(film, "-o", "large.mp4", "--part", 16) == (0, f"60 frames of {film} enlarged, in large.mp4\n")
    assert len(seconds(Path("large.mp4"))) == 60


def test_parts_of_another_command_are_not_taken(upscale, tmp_path):
    film = save_film(tmp_path / "film.mp4", count=9)

    def fails(operation):
        if operation.path.name == "whole.mkv":
            raise OSError(28, "No space left on device")

    with files.watched(fails):
        full = upscale(film, "-o", "large.mkv", "--part", 4, "--quality", 60)
    what = "what is enlarged is in large.mkv.parts, and the same command continues"
    assert full == (1, f"srkit upscale: large.mkv: cannot be written: No space left on device; {what}\n")
    assert upscale(film, "-o", "large.mkv", "--part", 4) == refused(
        "large.mkv.parts holds frames of another command: quality was 60, and is None; give that again, or remove the "
        "folder"
    )
    assert upscale(film, "-o", "large.mkv", "--part", 4, "--quality", 60)[0] == 0


def test_a_full_disk_is_said(upscale, tmp_path):
    film = save_film(tmp_path / "film.mp4", count=9)

    def full(operation):
        if operation.kind == "write" and operation.path.parent.name == "large.mkv.parts":
            raise OSError(28, "No space left on device")

    with files.watched(full):
        assert upscale(film, "-o", "large.mkv")[0] == 1
    assert not Path("large.mkv").exists()


def test_frames_are_streamed(upscale, tmp_path):
    size, count = (64, 96), 200
    film = save_film(tmp_path / "film.mp4", count=count, size=size)
    upscale(film, "-o", "warm.mkv")
    tracemalloc.start()
    try:
        assert upscale(film, "-o", "large.mkv", "--part", count)[0] == 0
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert most < count * size[0] * size[1] * 3 * 4 / 3  # of all frames' bytes, enlarged


def test_what_is_no_film_is_named(upscale, tmp_path):
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no film" * 1000)
    reason = "cannot be read as a film: Invalid data found when processing input"
    assert upscale(broken, "-o", "large.mkv") == (3, f"srkit upscale: {broken}: {reason}\n")
    line = "srkit upscale: none.mp4: cannot be read as a film: No such file or directory\n"
    assert upscale("none.mp4", "-o", "large.mkv") == (3, line)
    with av.open("sound.mkv", "w") as container:
        track = container.add_stream("flac", rate=16000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 4096), np.int16), format="s16", layout="mono")
        frame.sample_rate, frame.pts = 16000, 0
        container.mux(track.encode(frame))
        container.mux(track.encode())
    assert upscale("sound.mkv", "-o", "large.mkv") == (
        3,
        "srkit upscale: sound.mkv: has no video stream: it holds audio\n",
    )


def test_a_frame_that_cannot_be_decoded_is_named(upscale, tmp_path):
    film = save_film(tmp_path / "film.mov", codec="png", format="rgb24", size=(64, 64))
    found = packets(film, 0)[7][0]
    data = film.read_bytes()
    at = data.index(found)
    film.write_bytes(data[:at] + bytes(len(found)) + data[at + len(found) :])
    code, err = upscale(film, "-o", "large.mkv")
    reason = "cannot be decoded from frame 7 on: Invalid data found when processing input"
    assert (code, err) == (3, f"srkit upscale: {film}: {reason}\n")
    assert not Path("large.mkv").exists()


def test_odd_sides_need_a_codec_that_holds_them(upscale, tmp_path, nearest):
    from tests.cli.conftest import save_nearest

    film = save_film(tmp_path / "film.mkv", count=3, size=(25, 33), codec="ffv1")
    thrice = save_nearest(tmp_path / "thrice.safetensors", scale=3)
    assert upscale(film, "-o", "large.mkv", weights=thrice) == refused(
        f"{film} would become 99x75, and h264 has even sides for 4:2:0; --codec ffv1 holds odd ones"
    )
    assert upscale(film, "-o", "large.mkv", "--codec", "ffv1", weights=thrice)[0] == 0
    assert [plane.shape for plane in decoded(Path("large.mkv"))[0][1]] == [(75, 99), (38, 50), (38, 50)]
    assert upscale(film, "-o", "even.mkv")[0] == 0


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--codec", "ffv1", "-o", "a.mov"], "a .mov file does not hold ffv1: write a .mkv"),
        (
            ["--codec", "hevc", "-o", "a.mkv"],
            "film.mp4 would become 48x32, and hevc needs a side of 64 pixels: take h264",
        ),
        (["--codec", "ffv1", "--quality", 9, "-o", "a.mkv"], "--codec ffv1 is lossless: leave --quality out"),
        (["--codec", "prores", "--quality", 9, "-o", "a.mkv"], "--codec prores has one quality: leave --quality out"),
        (["-o", "a.png"], "-o a.png: films are written as .mkv, .mp4, .mov; a folder's name may end with /"),
        (["-o", "film.mp4"], "film.mp4 would be written over film.mp4; give another -o"),
        (["-o", "-"], "-o - writes an image: give a file or a folder for a film"),
        (["--format", "png", "-o", "a.mkv"], "--format goes with images, and film.mp4 is a film"),
        (["--part", 0, "-o", "a.mkv"], "--part must be at least 1, not 0"),
        (["photo.png", "-o", "out"], "film.mp4 is a film, and photo.png is none: give them to two commands"),
        (["film.mp4", "-o", "a.mkv"], "-o a.mkv names one film, and there are 2: give a folder"),
    ],
)
def test_a_command_that_cannot_be_meant_says_so(upscale, tmp_path, words, line):
    save_film(tmp_path / "film.mp4", count=2, size=(16, 24))
    assert upscale("film.mp4", *words) == refused(line)


def test_options_of_films_go_with_films(upscale):
    assert upscale("photo.png", "-o", "out", "--codec", "h264") == refused(
        "--codec and --part go with films, and no INPUT is one"
    )


def test_a_stream_that_the_container_does_not_hold_is_named(upscale, tmp_path):
    film = save_film(tmp_path / "film.mkv", count=2, subtitles="subrip")
    assert upscale(film, "-o", "large.mp4") == refused(
        f"a .mp4 file does not hold stream 1 of {film}, subtitle (srt): write a .mkv"
    )


def test_without_the_extra_one_line_says_how_to_get_it(upscale, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    assert upscale("film.mp4", "-o", "large.mkv") == refused("films need PyAV: pip install 'srkit[video]'")


def test_the_codecs_of_the_command_are_those_that_there_are():
    from srkit.video.coding import CODECS
    from srkit.video.joining import FORMATS

    assert tuple(CODECS) == films.CODECS
    assert tuple(FORMATS) == films.WRITTEN
