import shutil

import pytest

from tltool.__main__ import main

#: Class names that are HTML, and mathematics to matplotlib.
BLUE, RED = "<b>blue", "r$e$d"


@pytest.fixture(scope="session")
def odd_images(images, tmp_path_factory):
    """The blue and red images, in folders whose names must be escaped."""
    root = tmp_path_factory.mktemp("odd") / "images"
    for name, folder in (("blue", BLUE), ("red", RED)):
        shutil.copytree(images / name, root / folder)
    return root


@pytest.fixture(scope="session")
def fit(odd_images, tmp_path_factory):
    """Return a function that trains a tiny network and returns the run's folder."""
    runs = tmp_path_factory.mktemp("runs")

    def run(*args, name="colors", epochs=2, root=odd_images):
        arguments = ["--runs_dir", str(runs), "--name", name, "--data.root", str(root)]
        arguments += ["--model.backbone.name", "test_resnet", "--model.backbone.weights", "random"]
        arguments += ["--model.backbone.img_size", "32", "--data.batch_size", "4"]
        arguments += ["--data.num_workers", "0", "--trainer.max_epochs", str(epochs)]
        assert main(["fit", *arguments, "--model.head.hidden_features", "[8]", *args]) == 0
        return max((runs / name).iterdir(), key=lambda path: int(path.name))

    return run


@pytest.fixture(scope="session")
def finished(fit):
    """A finished run of two phases whose head is sick."""
    return fit("--finetuning", "LPFT", "--finetuning.probe_epochs", "1", "--model.head.bias=-20")


@pytest.fixture
def copy(finished, tmp_path):
    """A copy of the finished run, to spoil."""
    return shutil.copytree(finished, tmp_path / "copies" / "0")
