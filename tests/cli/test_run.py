def test_a_run_without_validation_has_no_tables_and_no_samples_to_look_at(call, tiny):
    code, out, err = call("run", "tiny.toml", "--set", "validate=[]", "--set", "train.steps=1")
    assert code == 0, err
    assert out.splitlines() == [
        "",
        "Next",
        "  srkit upscale runs/tiny/best.safetensors photo.jpg -o out/  # enlarge your own pictures",
        "  srkit eval runs/tiny/best.safetensors --data Set5=DIR       # score it on a folder of images",
        "  srkit list                                                  "
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
