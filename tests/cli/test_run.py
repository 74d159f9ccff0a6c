def test_a_run_without_validation_has_no_tables_and_no_samples_to_look_at(call, tiny):
    code, out, err = call("run", "tiny.toml", "--set", "validate=[]", "--set", "train.steps=1")
    assert code == 0, err
    assert out.splitlines() == [
        "",
        "Next",
        "  srkit upscale runs/tiny/best.safetensors photo.jpg -o out/tiny/  # enlarge your own pictures",
        "  srkit eval runs/tiny/best.safetensors --data Set5=DIR            # score it on a folder of images",
        "  srkit list                                                       "
        "# the networks, losses, datasets... to try in its place",
    ]


def test_a_run_with_validation_names_its_samples(call, tiny):
    code, out, err = call("run", "tiny.toml", "--set", "train.steps=1")
    assert code == 0, err
    assert out.splitlines()[-2].split("#")[0].split() == ["ls", "runs/tiny/samples"]


def test_what_to_do_next_can_be_pasted_where_the_folder_has_a_space(call, tiny):
    code, out, err = call("run", "tiny.toml", "--set", "train.steps=1", "--out", "my runs")
    assert code == 0, err
    commands = [line.partition("#")[0].split(maxsplit=1)[1].strip() for line in out.splitlines()[-3:-1]]
    assert commands == ["eval 'my runs/best.safetensors' --data Set5=DIR", "'my runs/samples'"]


def test_the_scores_say_which_step_they_are_of_where_the_best_is_another(srkit_forked, tiny):
    (tiny.parent / "falling.py").write_text(
        "import itertools, srkit\n"
        "COUNT = itertools.count()\n"
        "def falling(): return lambda sr, hr: -float(next(COUNT))\n"
        "@srkit.hookimpl\ndef srkit_components():\n"
        "    yield srkit.Component('metric', 'falling', f'{__name__}:falling')\n"
    )
    done = srkit_forked("-p", "falling.py", "run", "tiny.toml", "--set", 'metric=["falling"]')
    assert done.returncode == 0, done.stderr
    assert "these are the scores of step 6; best.safetensors has the weights of step 3\n" in done.stdout


def test_a_summed_loss_says_so(srkit_forked, tiny):
    (tiny.parent / "summed.py").write_text(
        "import srkit\n"
        "from torch import nn\n"
        "def summed(): return nn.L1Loss(reduction='sum')\n"
        "@srkit.hookimpl\ndef srkit_components():\n"
        "    yield srkit.Component('loss', 'summed', f'{__name__}:summed')\n"
    )
    done = srkit_forked(
        "-p", "summed.py", "run", "tiny.toml", "--set", "loss.type=summed", "--set", "optimizer.lr=1e-6"
    )
    assert done.returncode == 0, done.stderr
    assert "loss 'summed' is a sum over the pixels of the batch, not a mean\n" in done.stderr
