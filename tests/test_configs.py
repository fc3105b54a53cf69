"""Every YAML in configs/ runs."""

from pathlib import Path

import pytest

from tltool.__main__ import main

CONFIGS = Path(__file__).parent.parent / "configs"


@pytest.mark.slow
@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_a_config_runs_on_few_photos_with_random_weights(path, photos, tmp_path):
    small = ["--model.backbone.weights", "random", "--data", "ImageFolderDataModule"]
    small += ["--data.root", str(photos), "--data.batch_size", "4", "--trainer.max_epochs", "1"]
    assert main(["fit", "--config", str(path), *small, "--runs_dir", str(tmp_path)]) == 0


@pytest.mark.slow
@pytest.mark.timeout(900)  # Real photos through a real network, on one thread of the tests' two.
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
    # Two standard errors of an accuracy near 0.6 on 384 photos are 0.05; one epoch is enough.
    assert scores["this run"] > scores["majority class"] + 0.05
