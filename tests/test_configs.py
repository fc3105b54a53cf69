"""Every YAML in configs/ runs."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from lightning.pytorch import Trainer
from lightning.pytorch.cli import LightningArgumentParser

from tltool.__main__ import main
from tltool.lecture.catalog import EXPERIMENTS
from tltool.training.distributed.fsdp2 import TIME_LIMIT

CONFIGS = Path(__file__).parent.parent / "configs"


TINY = [
    *("--model.backbone.name", "test_resnet", "--model.backbone.weights", "random"),
    *("--model.backbone.img_size", "32", "--data.batch_size", "8", "--data.num_workers", "0"),
]
SHORT = ["--trainer.limit_train_batches", "2", "--trainer.limit_val_batches", "1"]
CPU = ["--trainer.accelerator", "cpu", *SHORT]
PLACES = {"cpu": CPU, "gpu": SHORT}  # On a GPU a file runs as it is.


def fragments(room):
    return sorted((CONFIGS / room).glob("*.yaml"))


def fit(*words):
    return main(["fit", *map(str, words)])


@pytest.fixture
def desk(images, tmp_path, monkeypatch):
    """The working directory that the fragments are written for."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "images").symlink_to(images)
    rows = [f"{file},{file.parent.name}" for file in sorted(images.glob("*/*.png"))]
    (tmp_path / "images.csv").write_text("\n".join(["path,label", *rows]))


@pytest.mark.slow
@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_a_config_runs_on_few_images_with_random_weights(path, images, tmp_path):
    small = ["--model.backbone.weights", "random", "--data", "ImageFolderDataModule"]
    small += ["--data.root", str(images), "--data.batch_size", "4", "--trainer.max_epochs", "1"]
    assert main(["fit", "--config", str(path), *small, "--runs_dir", str(tmp_path)]) == 0


def test_files_for_images_and_auto_change_nothing_of_what_fit_does_by_itself(desk, capsys):
    def config(*words):
        with pytest.raises(SystemExit, match=r"^0$"):
            fit(*words, "--print_config")
        return yaml.safe_load(capsys.readouterr().out)

    files = [CONFIGS / "data" / "image_folder.yaml", CONFIGS / "finetuning" / "auto.yaml"]
    assert config("--config", files[0], "--config", files[1]) == config("images")


@pytest.mark.slow
@pytest.mark.parametrize("path", fragments("data"), ids=lambda path: path.stem)
def test_a_fragment_of_data_runs(path, desk):
    assert fit("--config", path, *TINY, *CPU, "--trainer.max_epochs", 1) == 0


@pytest.mark.slow
@pytest.mark.parametrize("path", fragments("finetuning"), ids=lambda path: path.stem)
def test_a_fragment_of_finetuning_runs(path, desk):
    assert fit("--config", path, "--data.root", "images", *TINY, *CPU) == 0


ON_ONE = [path for path in fragments("trainer") if path.stem in {"cpu", "one_gpu", "bf16", "fp16"}]
ON_MANY = [path for path in fragments("trainer") if path not in ON_ONE]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*AMP with fp16 is not supported on CPU")
@pytest.mark.parametrize("path", ON_ONE, ids=lambda path: path.stem)
def test_a_fragment_of_the_trainer_for_one_device_runs(path, desk, accelerator):
    words = ["--data.root", "images", "--trainer.max_epochs", 1, "--trainer.devices", 1]
    assert fit("--config", path, *TINY, *PLACES[accelerator], *words) == 0


@pytest.mark.slow
@pytest.mark.parametrize("path", ON_MANY, ids=lambda path: path.stem)
def test_a_fragment_of_the_trainer_for_many_devices_runs(path, desk, accelerator):
    command = [sys.executable, "-m", "tltool", "fit", "--config", str(path), *TINY]
    command += PLACES[accelerator]
    command += ["--data.root", "images", "--trainer.max_epochs", "1"]
    command += ["--trainer.num_nodes", "1"]
    command += ["--trainer.devices", "2" if accelerator == "cpu" else "-1"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("path", ON_MANY, ids=lambda path: path.stem)
def test_a_rank_waits_minutes_for_the_others(path):
    parser = LightningArgumentParser()
    parser.add_argument("--config", action="config")
    parser.add_lightning_class_args(Trainer, "trainer")
    made = parser.instantiate_classes(parser.parse_args(["--config", str(path)]))
    on_cpus = {"accelerator": "cpu", "devices": 2, "num_nodes": 1, "logger": False}
    trainer = Trainer(**{**made.trainer, **on_cpus})
    assert trainer.strategy._timeout <= TIME_LIMIT


@pytest.mark.slow
def test_fragments_can_be_put_together_and_later_ones_win(desk):
    data, cpu = CONFIGS / "data" / "image_folder.yaml", CONFIGS / "trainer" / "cpu.yaml"
    finetuning = CONFIGS / "finetuning" / "last_blocks.yaml"
    Path("shorter.yaml").write_text("trainer: {max_epochs: 2}")
    files = [data, finetuning, cpu, "shorter.yaml"]
    assert fit(*(word for file in files for word in ("--config", file)), *TINY, *CPU) == 0
    used = yaml.safe_load(Path("runs/images/0/config.yaml").read_text())
    assert used["finetuning"]["class_path"].endswith("LastBlocks")
    assert (used["trainer"]["max_epochs"], used["trainer"]["accelerator"]) == (2, "cpu")


@pytest.mark.parametrize(
    "path", [*fragments("data"), *fragments("finetuning"), *fragments("trainer")]
)
def test_a_fragment_says_in_three_lines_what_it_is_for_and_how_to_run_it(path):
    header = [line for line in path.read_text().splitlines() if line.startswith("#")]
    assert len(header) == 3
    assert f"configs/{path.parent.name}/{path.name}" in header[-1]
    if "gpu" in yaml.safe_load(path.read_text()).get("trainer", {}).get("accelerator", ""):
        assert "Not run on a GPU" in header[0]


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
        if name in line and "+-" in line  # a row of the report
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
