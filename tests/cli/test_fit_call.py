import pytest

import tltool

TINY = {
    "model": {"backbone": {"name": "test_resnet", "weights": "random", "img_size": 32}},
    "finetuning": "LinearProbe",
    "trainer": {"max_epochs": 2, "accelerator": "cpu"},
}
DATA = {"batch_size": 8, "num_workers": 0}


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory):
    return tmp_path_factory.mktemp("runs") / "mine"


@pytest.fixture(scope="module")
def run(images, run_dir):
    return tltool.fit(images, data=DATA, run_dir=run_dir, **TINY)


def test_a_call_leaves_what_a_command_leaves(run, run_dir):
    assert run.run_dir == run_dir
    files = {"config.yaml", "metrics.csv", "status.json", "checkpoints"}
    assert files <= {path.name for path in run_dir.iterdir()}


def test_the_run_predicts_and_reports(run, images):
    prediction = run.load().predict(next((images / "red").iterdir()))
    assert prediction.label in {"blue", "red"}
    assert run.report().read_text(encoding="utf-8").startswith("<!DOCTYPE html>")


def test_a_second_call_finds_the_run_over(run, images, run_dir, capsys):
    assert tltool.fit(images, data=DATA, run_dir=run_dir, **TINY) == run
    assert "finished" in capsys.readouterr().out


def test_a_wrong_key_is_an_error_that_names_the_nearest(images):
    with pytest.raises(ValueError, match="head"):
        tltool.fit(images, model={"haed": {"activation": "gelu"}})


def test_an_object_is_refused_with_its_place(images):
    with pytest.raises(TypeError, match="plain data"):
        tltool.fit(images, trainer={"callbacks": [object()]})
