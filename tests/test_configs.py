"""Every YAML in configs/ runs."""

import dataclasses
import json
from pathlib import Path

import pytest
import yaml

from tltool.__main__ import main
from tltool.lecture.catalog import EXPERIMENTS

CONFIGS = Path(__file__).parent.parent / "configs"


@pytest.mark.slow
@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_a_config_runs_on_few_images_with_random_weights(path, images, tmp_path):
    small = ["--model.backbone.weights", "random", "--data", "ImageFolderDataModule"]
    small += ["--data.root", str(images), "--data.batch_size", "4", "--trainer.max_epochs", "1"]
    assert main(["fit", "--config", str(path), *small, "--runs_dir", str(tmp_path)]) == 0


@pytest.mark.slow
@pytest.mark.timeout(900)  # Real images through a real network, on one thread of the tests' two.
def test_the_quickstart_is_better_than_the_majority_class(tmp_path, capsys):
    config = str(CONFIGS / "quickstart.yaml")
    short = ["--trainer.max_epochs", "1", "--runs_dir", str(tmp_path)]
    assert main(["fit", "--config", config, *short]) == 0
    assert main(["report", str(tmp_path / "quickstart")]) == 0
    out = capsys.readouterr().out
    scores = {
        name: float(line.split("+-")[0].split()[-1])
        for line in out.splitlines()
        for name in ("majority class", "closed-form probe", "this run")
        if name in line
    }
    # Two standard errors of an accuracy near 0.6 on 384 images are 0.05; one epoch is enough.
    assert scores["this run"] > scores["majority class"] + 0.05


def lecture_configs():
    return sorted((CONFIGS / "experiment" / "lecture").glob("*.yaml"))


@pytest.mark.parametrize("path", lecture_configs(), ids=lambda path: path.stem)
def test_a_lecture_config_is_an_experiment_with_its_defaults_and_its_claim(path):
    text = path.read_text()
    config = yaml.safe_load(text)["lecture"]
    experiment = {cls.name(): cls for cls in EXPERIMENTS}[config["class_path"]]
    defaults = {field.name: field.default for field in dataclasses.fields(experiment)}
    assert config["init_args"] == json.loads(json.dumps(defaults))
    header = " ".join(line.removeprefix("# ") for line in text.splitlines() if line[0] == "#")
    assert experiment.claim in header
    assert "Verdict: " in header


def test_every_experiment_has_a_config():
    configs = [yaml.safe_load(path.read_text()) for path in lecture_configs()]
    names = [config["lecture"]["class_path"] for config in configs]
    assert sorted(names) == sorted(experiment.name() for experiment in EXPERIMENTS)


def test_a_lecture_config_runs(tmp_path):
    config = str(CONFIGS / "experiment" / "lecture" / "saturation.yaml")
    tiny = ["--lecture.depths", "[2]", "--lecture.width", "4", "--lecture.epochs", "1"]
    assert main(["compare", "--config", config, *tiny, "--runs_dir", str(tmp_path)]) == 0
