import pytest

from srkit.recipe.packaged import packaged_recipes


def test_a_packaged_recipe_is_copied_here(call, tmp_path):
    assert call("new", "recipe", "quickstart") == (0, "quickstart.toml\n", "")
    copied = (tmp_path / "quickstart.toml").read_bytes()
    assert copied == packaged_recipes()["quickstart"].read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["quickstart.toml"]


def test_what_a_recipe_extends_is_copied_too_and_they_work_here(call, tmp_path):
    assert call("new", "recipe", "a2n_x4_from_x2") == (0, "a2n_x2.toml\na2n_x4_from_x2.toml\n", "")
    code, _, err = call("check", "a2n_x4_from_x2.toml")
    assert code == 2
    assert err.startswith("a2n_x2.toml:24: data/DIV2K_480.h5: is not there; looked for in ")


def test_no_file_is_overwritten(call, tmp_path):
    (tmp_path / "quickstart.toml").write_text("mine")
    message = "srkit new: quickstart.toml is there already; remove it first\n"
    assert call("new", "recipe", "quickstart.toml") == (2, "", message)
    assert (tmp_path / "quickstart.toml").read_text() == "mine"


def test_an_unknown_name_says_which_there_are(call):
    there_are = ", ".join(packaged_recipes())
    message = f"srkit new: there is no packaged recipe 'zzz'; there are: {there_are}\n"
    assert call("new", "recipe", "zzz") == (2, "", message)


def test_a_misspelt_name_names_the_nearest(call):
    message = "srkit new: there is no packaged recipe 'quikstart'; did you mean 'quickstart'?\n"
    assert call("new", "recipe", "quikstart") == (2, "", message)


def test_a_misspelt_word_names_the_nearest(call):
    message = "srkit new: argument recipe|plugin: there is no 'recipy'; did you mean 'recipe'?\n"
    assert call("new", "recipy", "quickstart") == (2, "", message)


def test_a_recipes_name_without_the_word_says_which_words_there_are(call):
    message = "srkit new: argument recipe|plugin: there is no 'quickstart'; there are: plugin, recipe\n"
    assert call("new", "quickstart") == (2, "", message)


@pytest.mark.parametrize("option", ["--kind=loss", "--to=here"])
def test_the_options_of_a_plugin_are_none_of_a_recipe(call, tmp_path, option):
    message = "srkit new: --kind and --to go with `srkit new plugin`\n"
    assert call("new", "recipe", "quickstart", option) == (2, "", message)
    assert not list(tmp_path.iterdir())


def test_the_help_explains_both(srkit_command):
    text = srkit_command("new", "--help").stdout
    assert "srkit new recipe NAME    copy a packaged recipe here, to change it\n" in text
    assert "srkit new plugin NAME    write a plugin that works, to change it: " in text


def test_a_folder_that_cannot_be_written_is_one_line(call, tmp_path, monkeypatch):
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    message = "srkit new: quickstart.toml: cannot be written: No such file or directory\n"
    assert call("new", "recipe", "quickstart") == (1, "", message)
