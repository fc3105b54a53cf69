"""A head, backbone, datamodule and callback of the user's own, outside of the checkout."""

import contextlib
import importlib
import io
import re
import shutil
import sys

import pytest
import torch
import yaml

import tltool
from tltool.__main__ import main
from tltool.cli.sections import experiment_parser
from tltool.features.fingerprint import make_fingerprint

PARTS = """
import torch
from lightning.pytorch import Callback

import tltool


class MyHead(torch.nn.Module):
    def __init__(self, num_features: int, num_classes: int, scale: float = 1.0) -> None:
        super().__init__()
        self.scale = scale
        self.output = torch.nn.Linear(num_features, num_classes)

    def forward(self, features):
        return self.output(features) * self.scale


@tltool.serializable
class MyBackbone(tltool.Backbone):
    def forward(self, images):
        return 2 * super().forward(images)


class MyCallback(Callback):
    def __init__(self, words: str = "nothing") -> None:
        self.words = words

    def on_train_end(self, trainer, task):
        if trainer.is_global_zero:
            print(f"my callback says {self.words}")
"""
DATA = '''
from pathlib import Path

import tltool
from tltool.data.datamodules.shared_options import FileOptions, Unpack


class MyData(tltool.ImageDataModule):
    """Images in folders by color, of one suffix."""

    def __init__(self, root: str, suffix: str = ".jpg", **options: Unpack[FileOptions]) -> None:
        super().__init__(**options)
        self.root, self.suffix = Path(root), suffix

    def find_classes(self):
        return sorted({record.label for record in self.records})

    def find_records(self):
        found = sorted(self.root.glob(f"*/*{self.suffix}"))
        names = [(path.parent.name, path.name) for path in found]
        return [
            tltool.ImageRecord(str(path), "/".join(name), name[0])
            for path, name in zip(found, names)
        ]


class FixedData(MyData):
    """Images with few of the shared options."""

    def __init__(
        self,
        root: str,
        batch_size: int = 8,
        data_config: dict | None = None,
        objective: str = "single_label",
    ) -> None:
        options = {"data_config": data_config, "objective": objective, "num_workers": 0}
        super().__init__(root, ".png", batch_size=batch_size, **options)
'''
PARTS_OF_RUN = [
    *("--model.backbone", "my_parts.MyBackbone", "--model.backbone.name", "test_resnet"),
    *("--model.backbone.weights", "random", "--model.backbone.img_size", "32"),
    *("--model.head", "my_parts.MyHead", "--model.head.scale", "0.5"),
    *("--trainer.callbacks", "my_parts.MyCallback", "--trainer.callbacks.words", "done"),
    *("--trainer.callbacks+=ModelCheckpoint", "--trainer.callbacks.filename", "mine"),
]
DATA_OF_RUN = ["--data", "my_data.MyData", "--data.suffix", ".png", "--data.num_workers", "0"]
SHORT = ["--data.batch_size", "8", "--trainer.accelerator", "cpu", "--trainer.max_epochs", "1"]
BOTH = ["--modules", "my_parts", "my_data"]
BEST = "run/checkpoints/best.ckpt"
FOREIGN = {"my_parts", "my_data", "stranger"}


class Desk:
    """A folder in which a user works, and has typed a command."""

    def __init__(self, folder, images):
        self.folder, self.images = folder, images

    def run(self, *words, path=()):
        """Run a command as a new process would, with nothing of the folder imported."""
        out = io.StringIO()
        with pytest.MonkeyPatch.context() as patch:
            for name in FOREIGN:
                sys.modules.pop(name, None)
            patch.chdir(self.folder)
            installed = [each for each in sys.path if each not in ("", ".", str(self.folder))]
            patch.setattr(sys, "path", [*path, *installed])
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
                try:
                    status = main([str(word) for word in words])
                except SystemExit as stop:
                    status = stop.code
        return status, out.getvalue()

    def fit(self, run_dir, *words):
        given = [*PARTS_OF_RUN, *DATA_OF_RUN, *SHORT, "--data.root", self.images]
        return self.run("fit", *given, "--run_dir", run_dir, *words)


@pytest.fixture(scope="module")
def desk(tmp_path_factory, images):
    folder = tmp_path_factory.mktemp("desk")
    (folder / "my_parts.py").write_text(PARTS)
    (folder / "my_data.py").write_text(DATA)
    (folder / "stranger.py").write_text("raise SystemExit('imported')")
    desk = Desk(folder, images)
    status, desk.said = desk.fit("run")
    assert status == 0, desk.said
    return desk


def imported():
    return FOREIGN & sys.modules.keys()


def test_own_parts_train_and_their_checkpoint_names_them(desk):
    saved = torch.load(desk.folder / BEST, weights_only=True)
    task, data = saved["task_config"], saved["config"]["data"]
    assert task["backbone"]["class_path"] == "my_parts.MyBackbone"
    assert task["head"] == {
        "class_path": "my_parts.MyHead",
        "init_args": {"num_features": 96, "num_classes": 2, "scale": 0.5},
    }
    assert (data["class_path"], data["init_args"]["suffix"]) == ("my_data.MyData", ".png")
    assert "my callback says done" in desk.said


def test_auto_leaves_out_what_a_datamodule_has_no_option_for(desk):
    words = ["--data", "my_data.FixedData", "--data.root", desk.images, *PARTS_OF_RUN[:6]]
    words += ["--trainer.accelerator", "cpu", "--run_dir", "fixed"]
    for epochs in ("1", "2"):  # The second run resumes the first.
        status, said = desk.run("fit", *words, "--trainer.max_epochs", epochs)
        assert status == 0, said
    options = yaml.safe_load((desk.folder / "fixed/config.yaml").read_text())["data"]["init_args"]
    assert "augmentation" not in options
    assert "tuning_fraction" not in options


def test_a_checkpoint_callback_of_the_user_writes_into_the_run(desk):
    found = {path.name for path in (desk.folder / "run/checkpoints").iterdir()}
    assert found >= {"best.ckpt", "last.ckpt", "mine.ckpt"}
    assert not list(desk.folder.glob("*lightning*"))


def test_the_commands_to_type_name_the_modules(desk):
    predict, look = re.findall(r"^(?:look|predict) +(tltool .*)$", desk.said, re.MULTILINE)
    assert look == "tltool report run --modules my_parts my_data"
    assert predict.endswith("--data.root FOLDER --modules my_parts")


def test_the_yaml_to_keep_names_whole_paths_and_runs(desk):
    text = desk.said.split("(tltool fit --config FILE):\n")[1].split("\n\n")[0]
    kept = yaml.safe_load(text)
    assert kept["model"]["backbone"]["class_path"] == "my_parts.MyBackbone"
    assert kept["model"]["head"]["class_path"] == "my_parts.MyHead"
    assert kept["data"]["class_path"] == "my_data.MyData"
    assert kept["trainer"]["callbacks"][0]["class_path"] == "my_parts.MyCallback"
    (desk.folder / "kept.yaml").write_text(text)
    status, said = desk.run("fit", "--config", "kept.yaml", "--run_dir", "again")
    assert status == 0, said
    assert "my callback says done" in said


def test_a_run_with_own_parts_is_resumed(desk):
    shutil.copytree(desk.folder / "run", desk.folder / "longer")
    status, said = desk.fit("longer", "--trainer.max_epochs", "2")
    assert status == 0, said
    assert torch.load(desk.folder / "longer/checkpoints/last.ckpt", weights_only=True)["epoch"] == 1


ON_DATA = [
    "--ckpt_path",
    BEST,
    *DATA_OF_RUN,
    "--data.batch_size",
    "8",
    "--trainer.accelerator",
    "cpu",
]
DOORS = {
    "validate": (["validate", *ON_DATA, "--modules", "my_parts"], "val/accuracy"),
    "predict": (["predict", *ON_DATA, "--modules", "my_parts"], "predictions: predictions.csv"),
    "report": (["report", "run", *BOTH], "verdict "),
    "export": (["export", BEST, "--to", "safetensors", *BOTH], "wrote "),
    "merge": (["merge", BEST, "run/checkpoints/last.ckpt", *BOTH], "merged.ckpt"),
    "plan": (["plan", "--config", "run/config.yaml"], "steps an epoch"),
}


@pytest.mark.parametrize("door", DOORS)
def test_own_parts_go_through_each_door(desk, door):
    words, expected = DOORS[door]
    root = ["--data.root", desk.images] if door in {"validate", "predict"} else []
    status, said = desk.run(*words, *root)
    assert (status, expected in said) == (0, True), said
    assert not re.search("missing|cannot be (read|laid out)", said)


@pytest.mark.parametrize("door", ["predict", "validate", "report", "export"])
def test_no_door_imports_what_a_checkpoint_asks_for(desk, door):
    words = {
        "report": ["report", "run"],
        "export": ["export", BEST, "--to", "safetensors"],
    }.get(door, [door, "--ckpt_path", BEST, "--data.root", desk.images])
    status, said = desk.run(*words, path=[str(desk.folder)])
    assert (status, "--modules my_parts" in said) == (1, True), said
    assert not imported()


@pytest.mark.parametrize("door", ["report", "export"])
def test_a_datamodule_that_is_not_named_is_not_imported_and_said(desk, door):
    words = {"report": ["report", "run"], "export": ["export", BEST, "--to", "safetensors"]}[door]
    output = ["--output", desk.folder / ("page.html" if door == "report" else "other.safetensors")]
    named = ["--modules", "my_parts"]
    status, said = desk.run(*words, *output, *named, path=[str(desk.folder)])
    assert status == 0, said
    assert imported() == {"my_parts"}
    if door == "report":
        assert "needs the class my_data.MyData" in said
        assert "--modules my_data." in said
    else:
        assert "my_data.MyData" in (desk.folder / "other.safetensors.md").read_text()


@pytest.fixture
def foreign(desk):
    """A checkpoint whose configuration names a strategy and a callback of a stranger."""
    saved = torch.load(desk.folder / BEST, weights_only=True)
    saved["config"]["finetuning"] = {"class_path": "stranger.Strategy", "init_args": {}}
    saved["config"]["trainer"]["callbacks"] = [{"class_path": "stranger.Callback", "init_args": {}}]
    path = desk.folder / "foreign.ckpt"
    torch.save(saved, path)
    return path


def test_a_resumed_run_does_not_import_the_strategy_of_a_checkpoint(desk, foreign):
    status, said = desk.run(
        *("fit", *PARTS_OF_RUN, *DATA_OF_RUN, *SHORT, "--data.root", desk.images),
        *("--run_dir", "other", "--ckpt_path", foreign),
        path=[str(desk.folder)],
    )
    assert (status, "needs the class stranger.Strategy" in said) == (1, True), said
    assert "stranger" not in imported()


def test_a_card_shows_the_classes_of_a_checkpoint_without_importing_them(desk, foreign):
    words = ["--to", "safetensors", "--output", "foreign.safetensors", "--no_measure", *BOTH]
    status, said = desk.run("export", foreign, *words, path=[str(desk.folder)])
    assert status == 0, said
    assert "stranger.Callback" in (desk.folder / "foreign.safetensors.md").read_text()
    assert "stranger" not in imported()


def test_features_of_an_own_backbone_have_another_name_when_its_code_changes(tmp_path, monkeypatch):
    names = set()
    for factor in ("2", "3"):
        (tmp_path / factor).mkdir()
        (tmp_path / factor / "part.py").write_text(PARTS.replace("2 *", f"{factor} *"))
        monkeypatch.syspath_prepend(tmp_path / factor)
        sys.modules.pop("part", None)
        torch.manual_seed(0)
        module = importlib.import_module("part")
        backbone = module.MyBackbone("test_resnet", weights="random", img_size=32)
        names.add(make_fingerprint(backbone, {}).name)
    assert len(names) == 2


def test_own_parts_train_and_predict_on_two_ranks(desk, run_tasks, monkeypatch):
    monkeypatch.chdir(desk.folder)
    monkeypatch.setattr(sys, "path", [each for each in sys.path if each not in ("", ".")])
    for name in FOREIGN:
        monkeypatch.delitem(sys.modules, name, raising=False)
    given = [*PARTS_OF_RUN, *DATA_OF_RUN, *SHORT, "--data.root", str(desk.images)]
    codes, texts = run_tasks(lambda rank: main(["fit", *given, "--run_dir", "ranks"]))
    assert codes == [0, 0], texts
    assert ["my callback says done" in text for text in texts] == [True, False]
    words = ["--data.root", str(desk.images), "--modules", "my_parts", "--output", "ranks.csv"]
    words = [word.replace("run/", "ranks/") for word in ON_DATA] + words
    codes, texts = run_tasks(lambda rank: main(["predict", *words]))
    assert codes == [0, 0], texts
    assert len((desk.folder / "ranks.csv").read_text().splitlines()) == 5


def test_a_class_of_python_stands_for_its_name(desk, monkeypatch):
    monkeypatch.syspath_prepend(desk.folder)
    monkeypatch.chdir(desk.folder)
    import my_data
    import my_parts

    run = tltool.fit(
        model={
            "backbone": {"name": "test_resnet", "weights": "random", "img_size": 32},
            "head": {"class_path": my_parts.MyHead, "init_args": {"scale": 0.5}},
        },
        data={
            "class_path": my_data.MyData,
            "init_args": {"root": desk.images, "suffix": ".png", "batch_size": 8, "num_workers": 0},
        },
        finetuning=tltool.LinearProbe(),
        trainer={"max_epochs": 1, "accelerator": "cpu", "callbacks": [my_parts.MyCallback]},
        run_dir=desk.folder / "python",
    )
    assert run.load().task.head.scale == 0.5
    kept = yaml.safe_load((run.run_dir / "config.yaml").read_text())
    assert kept["finetuning"]["class_path"].endswith(".LinearProbe")


def test_an_optimizer_without_types_is_read_from_a_file_as_from_the_command_line(
    tmp_path, monkeypatch
):
    code = "class Untyped(torch.optim.SGD):\n    def __init__(self, params, lr=0.1):\n"
    code = f"import torch\n\n\n{code}        super().__init__(params, lr)\n"
    (tmp_path / "own_optimizer.py").write_text(code)
    file = tmp_path / "own.yaml"
    file.write_text("optimizer: {class_path: own_optimizer.Untyped, init_args: {lr: 0.2}}\n")
    monkeypatch.syspath_prepend(tmp_path)
    parser = experiment_parser("fit")
    given = ["--optimizer", "own_optimizer.Untyped", "--optimizer.lr", "0.2"]
    ways = (["--config", str(file)], given)
    configs = [parser.parse_args([*words, "--data.root", "images"]) for words in ways]
    assert configs[0].optimizer == configs[1].optimizer


def test_an_optimizer_without_a_learning_rate_is_accepted(tmp_path, monkeypatch):
    code = "class Slow(torch.optim.SGD):\n    def __init__(self, params, momentum: float = 0.5):\n"
    code = f"import torch\n\n\n{code}        super().__init__(params, 0.1, momentum)\n"
    (tmp_path / "slow_optimizer.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    words = ["--optimizer", "slow_optimizer.Slow", "--data.root", "images"]
    config = experiment_parser("fit").parse_args(words)
    assert config.optimizer.init_args.as_dict() == {"momentum": 0.5}
