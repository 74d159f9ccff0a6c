import contextlib
import os
import tomllib

import pytest

from srkit.recipe import toml
from srkit.recipe.toml import TomlProblem


def write(tmp_path, text):
    path = tmp_path / "x.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


TEXT = """\
# a comment
title = "a"
long = [
  1,
  2,
]
text = \"\"\"
[not a table]
\"\"\"

[data]
"odd key" = 1
inline = { a = 1, b = { c = 2 } }
a.b.c = 3

[[loss]]
type = "l1"
[[loss]]
type = "l2"
[loss.more]
x = 1
"""


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (("title",), 2),
        (("long",), 3),
        (("long", 1), 3),
        (("text",), 7),
        (("data",), 11),
        (("data", "odd key"), 12),
        (("data", "inline", "b", "c"), 13),
        (("data", "a", "b", "c"), 14),
        (("loss", 0), 16),
        (("loss", 0, "type"), 17),
        (("loss", 1), 18),
        (("loss", 1, "type"), 19),
        (("loss", 1, "more", "x"), 21),
        (("loss", 1, "missing"), 18),
        (("missing",), None),
    ],
)
def test_each_key_has_the_line_of_its_statement(tmp_path, path, line):
    assert toml.read(write(tmp_path, TEXT)).line(path) == line


@pytest.mark.parametrize(
    ("text", "message", "line"),
    [
        ("a = 1\nb = = 2\n", "not valid TOML: Invalid value", 2),
        ("a = 1\nb = [1,\n2\n", "not valid TOML: Unclosed array", 3),
        ("a = 1\na = 2\n", "not valid TOML: Cannot overwrite a value", 2),
        ("a = " + "[" * 600 + "]" * 300, "not valid TOML: nested too deeply", None),
        (b"a = 1\nb = '\xff'\n", "is not UTF-8", 2),
        ("a = 1\n" + "b = '" + "x" * 2000 + "'\n", "a line longer than 1024 characters", 2),
        ("\n" * 1001, "longer than 1000 lines", None),
        ("#" * 1000 * 70, "larger than 64 KiB, too large for a recipe", None),
    ],
)
def test_what_is_no_recipe_is_refused_with_its_line(tmp_path, text, message, line):
    with pytest.raises(TomlProblem) as error:
        toml.read(write(tmp_path, text))
    assert (str(error.value), error.value.line) == (message, line)


@pytest.mark.parametrize(
    "text",
    [
        "x = [\n" + "[],\n" * 990 + "]\n",
        "x = '''\n" + "]\n" * 990 + "'''\n",
        "\n".join(".".join("abcdefghij" * 20) + f".k{i} = 1" for i in range(150)),
        "x = [" + "\n[" * 90 + "]\n" * 90 + "]",
        "\n".join(f"[a{i}]\nb = [1,\n2]" for i in range(330)),
    ],
)
def test_a_file_made_to_be_slow_takes_bounded_work(tmp_path, monkeypatch, text):
    toml.positions.cache_clear()
    parsed, loads = 0, tomllib.loads

    def counting(text):
        nonlocal parsed
        parsed += len(text)
        return loads(text)

    monkeypatch.setattr(tomllib, "loads", counting)
    with contextlib.suppress(TomlProblem):
        toml.read(write(tmp_path, text)).line(("missing",))
    assert parsed < toml.WORK + 3 * toml.MAX_BYTES


def test_a_long_array_has_a_line_and_so_has_what_follows(tmp_path):
    text = "x = [\n" + "1234567890,\n" * 900 + "]\ny = 1\n"
    document = toml.read(write(tmp_path, text))
    assert (document.line(("x",)), document.line(("x", 899)), document.line(("y",))) == (1, 1, 903)


def test_what_is_no_regular_file_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.toml")
    with pytest.raises(TomlProblem) as error:
        toml.read(tmp_path / "pipe.toml")
    assert str(error.value) == "is no regular file"
