"""The degradation `kernel`, against sums by hand and against kernels whose LR is known."""

from __future__ import annotations

import re
import struct
import subprocess
import sys

import h5py
import numpy as np
import pytest
from srkit_resize.blurred import KnownKernel, fitted
from srkit_resize.kernel import shrinking
from srkit_resize.kernel_files import read_kernel
from srkit_resize.matlab import Bicubic

import srkit
from srkit.plugin.discovery import installed
from srkit.testing import parametrize_components


def written(folder, kernel, name="kernel.npy"):
    np.save(folder / name, np.asarray(kernel, dtype=float))
    return folder / name


def image(height, width, dtype=np.uint8):
    return np.random.default_rng(1).integers(0, np.iinfo(dtype).max, (height, width, 3), dtype, endpoint=True)


@parametrize_components("kernel")
def test_it_keeps_the_contract_of_a_degradation(check, tmp_path):
    if check.check.name == "is_made_with_defaults":
        pytest.skip("its path has no default")
    check(path=str(written(tmp_path, np.outer([1, 2, 1], [1, 3, 1]))))


@pytest.mark.parametrize(("rows", "columns", "scale"), [(3, 5, 3), (4, 2, 2), (6, 4, 4), (1, 1, 3)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_each_pixel_is_the_weighted_sum_around_the_middle_of_its_square(tmp_path, rows, columns, scale, dtype):
    weights = np.random.default_rng(2).random((rows, columns))
    hr = image(4 * scale, 5 * scale, dtype)
    lr = KnownKernel(scale=scale, path=written(tmp_path, weights))(hr)
    padded = np.pad(hr, ((9, 9), (9, 9), (0, 0)), "symmetric").astype(float)
    assert lr.shape == (4, 5, 3)
    assert lr.dtype == dtype
    for i in range(4):
        for j in range(5):
            # the first of the pixels, so that as many lie above the square's middle as below
            top, left = i * scale + scale // 2 - rows // 2, j * scale + scale // 2 - columns // 2
            window = padded[top + 9 : top + 9 + rows, left + 9 : left + 9 + columns]
            total = (weights[..., None] * window).sum((0, 1)) / weights.sum()
            assert np.array_equal(lr[i, j], np.floor(total + 0.5).astype(dtype))


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("edge", ["symmetric", "replicate"])
def test_the_kernel_of_matlabs_bicubic_makes_its_lr(tmp_path, scale, edge):
    line = shrinking(scale).weights[0].astype(float)
    hr = image(12 * scale, 11 * scale)
    found = KnownKernel(scale=scale, path=written(tmp_path, np.outer(line, line)), edge=edge)(hr)
    assert np.abs(found.astype(int) - Bicubic(scale=scale, mode="double", edge=edge)(hr)).max() == 0


@pytest.mark.parametrize("scale", [2, 3])
def test_first_takes_every_pixel_of_the_blurred_image_from_the_first_on(tmp_path, scale):
    weights = np.random.default_rng(3).random((5, 3))
    path, hr = written(tmp_path, weights), image(6 * scale, 4 * scale)
    found = KnownKernel(scale=scale, path=path, then="first")(hr)
    assert np.array_equal(found, KnownKernel(scale=1, path=path)(hr)[::scale, ::scale])


@pytest.mark.parametrize("scale", [2, 3])
def test_bicubic_makes_the_blurred_image_smaller_as_matlab_does(tmp_path, scale):
    """Of an image that is even near its edge, blurred by a kernel of quarters: nothing is rounded in between."""
    hr = np.full((12 * scale, 12 * scale, 3), 64, np.uint8)
    inner = np.random.default_rng(4).integers(0, 16, (4 * scale, 4 * scale, 3)) * 16
    hr[4 * scale : 8 * scale, 4 * scale : 8 * scale] = inner
    path = written(tmp_path, [[1, 2, 1], [2, 4, 2], [1, 2, 1]])
    blurred = KnownKernel(scale=1, path=path)(hr)
    found = KnownKernel(scale=scale, path=path, then="bicubic")(hr)
    assert np.array_equal(found, Bicubic(scale=scale, mode="double")(blurred))


def test_another_way_to_make_it_smaller_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r'^then must be "middle", "first" or "bicubic", not "last"$'):
        KnownKernel(scale=2, path=written(tmp_path, [[1]]), then="last")


def test_a_kernel_between_pixels_is_moved_by_half_of_one():
    assert fitted(np.array([[0.0, 1.0, 0.0]]), 1).tolist() == [[0, 1, 0]]
    moved = fitted(np.array([[0.0, 1.0, 0.0]]), 2)
    assert moved.tolist() == [[0, 0.25, 0.25, 0], [0, 0.25, 0.25, 0]]
    assert fitted(np.ones((2, 2)) / 4, 3).tolist() == [
        [0.0625, 0.125, 0.0625],
        [0.125, 0.25, 0.125],
        [0.0625, 0.125, 0.0625],
    ]


def test_text_and_npy_are_the_same_kernel(tmp_path):
    hr = image(12, 16)
    expected = KnownKernel(scale=2, path=written(tmp_path, [[1, 2], [3, 4]]))(hr)
    for name, text in (("k.txt", "1 2\n\n3 4\n"), ("k.csv", "1, 2\n3,4")):
        (tmp_path / name).write_text(text)
        assert np.array_equal(KnownKernel(scale=2, path=tmp_path / name)(hr), expected)


def test_an_image_may_be_smaller_than_the_kernel(tmp_path):
    hr = np.full((4, 4, 3), 77, np.uint8)
    assert (KnownKernel(scale=2, path=written(tmp_path, np.ones((40, 40))))(hr) == 77).all()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("1 2\n3", "is no kernel: "),
        ("1 two", "is no kernel: could not convert string to float: 'two'"),
        ("", "is no kernel of 1 to 255 rows and columns, but [0]"),
        ("1 -1", "is no kernel: its values are to be finite, and their sum above 0"),
        ("1 nan", "is no kernel: its values are to be finite, and their sum above 0"),
        ("1 " * 256, "is no kernel of 1 to 255 rows and columns, but [1, 256]"),
        (None, "cannot be read: No such file or directory"),
    ],
)
def test_a_file_without_a_kernel_is_refused(tmp_path, content, message):
    path = tmp_path / "kernel.txt"
    if content is not None:
        path.write_text(content)
    with pytest.raises(srkit.InputRejected, match=re.escape(f"{path}: {message}")):
        installed().create("degradation", "kernel", scale=2, path=str(path))


def test_a_pickle_is_no_kernel(tmp_path):
    np.save(tmp_path / "kernel.npy", np.array([[print]], dtype=object), allow_pickle=True)
    with pytest.raises(srkit.InputRejected, match=r"kernel\.npy: is no kernel: Object arrays cannot be loaded"):
        KnownKernel(scale=2, path=tmp_path / "kernel.npy")


def matlab_5(*named):
    """Return a .mat of version 5, little-endian: its head, and an element for each (name, matrix of doubles)."""

    def element(kind, data):
        return struct.pack("<II", kind, len(data)) + data + bytes(-len(data) % 8)

    def matrix(name, values):
        flags, sizes = struct.pack("<II", 6, 0), struct.pack("<2i", *values.shape)
        parts = [(6, flags), (5, sizes), (1, name.encode()), (9, values.tobytes(order="F"))]
        return element(14, b"".join(element(*part) for part in parts))

    head = b"MATLAB 5.0 MAT-file".ljust(124) + struct.pack("<H", 0x0100) + b"IM"
    return head + b"".join(matrix(name, values) for name, values in named)


def matlab_7_3(path, **named):
    """Write a .mat of version 7.3: HDF5 behind a head of 512 bytes, with columns as rows."""
    with h5py.File(path, "w", userblock_size=512) as file:
        for name, values in named.items():
            file[name] = values.T
    with open(path, "r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file".ljust(124) + struct.pack("<H", 0x0200) + b"IM")


KERNEL = np.array([[1.0, 2.0, 4.0], [0.0, 3.0, 6.0]])


def test_a_kernel_of_matlab_is_read_in_both_versions_of_its_files(tmp_path):
    (tmp_path / "five.mat").write_bytes(matlab_5(("Kernel", KERNEL)))
    matlab_7_3(tmp_path / "seven.mat", Kernel=KERNEL)
    for name in ("five.mat", "seven.mat"):
        assert np.array_equal(read_kernel(tmp_path / name), KERNEL / 16)


def test_of_several_matrices_one_is_named(tmp_path):
    (tmp_path / "five.mat").write_bytes(matlab_5(("a", np.ones((2, 2))), ("b", KERNEL)))
    matlab_7_3(tmp_path / "seven.mat", a=np.ones((2, 2)), b=KERNEL)
    for name in ("five.mat", "seven.mat"):
        path = tmp_path / name
        assert np.array_equal(read_kernel(path, "b"), KERNEL / 16)
        for matrix, told in (
            ("", 'it has not one matrix, but a, b; say which: matrix = "NAME"'),
            ("c", "there is no matrix 'c'; there are: a, b"),
        ):
            with pytest.raises(srkit.InputRejected) as error:
                read_kernel(path, matrix)
            assert str(error.value) == f"{path}: is no kernel: {told}"


def test_a_damaged_file_of_matlab_is_refused(tmp_path):
    matlab_7_3(tmp_path / "seven.mat", Kernel=KERNEL)
    for name, data in (
        ("head.mat", b"MATLAB 5.0 MAT-file"),
        ("cut.mat", matlab_5(("Kernel", KERNEL))[:-40]),
        ("cut7.mat", (tmp_path / "seven.mat").read_bytes()[:700]),
    ):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(srkit.InputRejected, match=re.escape(f"{tmp_path / name}: ")):
            read_kernel(tmp_path / name)
    kernel = written(tmp_path, KERNEL)
    with pytest.raises(srkit.InputRejected) as error:
        read_kernel(kernel, "Kernel")
    assert str(error.value) == f"{kernel}: is no .mat, and has no matrix 'Kernel'"


def test_degrade_takes_the_kernel_of_a_file(tmp_path):
    (tmp_path / "photos").mkdir()
    hr = image(8, 12)
    srkit.save_image(tmp_path / "photos" / "a.png", hr)
    kernel = written(tmp_path, np.ones((2, 2)))
    command = [sys.executable, "-m", "srkit", "degrade", "kernel", "photos", "out", "--scale", "2"]
    subprocess.run([*command, "--set", f"path={kernel}"], cwd=tmp_path, check=True, capture_output=True)
    expected = np.floor(hr.reshape(4, 2, 6, 2, 3).mean((1, 3)) + 0.5)
    assert np.array_equal(srkit.read_image(tmp_path / "out" / "a.png"), expected)
