"""Lightning's EMAWeightAveraging in our runs: exact resume, cached activations, and the end."""

import runpy
from pathlib import Path

import pytest
import torch
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import EMAWeightAveraging

from tltool.training.average_start import AverageStart
from tltool.training.callbacks.ending import Ending
from tltool.training.image_task import ImageTask

job = runpy.run_path(str(Path(__file__).with_name("ending_job.py")))
LAST_LAYERS = job["Phases"](job["LAST_LAYERS"])

pytestmark = pytest.mark.filterwarnings(
    "ignore:Checkpoint directory .* is not empty",
    "ignore:.*callbacks used to create the checkpoint need to be provided",
    "ignore:The dirpath has changed",
)


class Saves(Callback):
    """Keep a checkpoint of each step, and note which batches were read."""

    def __init__(self, folder):
        self.folder, self.kinds = folder, set()

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.kinds.add("activations" if "activations" in batch else "images")
        if not trainer.is_last_batch:
            trainer.save_checkpoint(self.folder / f"step {trainer.global_step}.ckpt")


@pytest.fixture(scope="module")
def hard_images(tmp_path_factory):
    return job["write_hard_images"](tmp_path_factory.mktemp("hard") / "images")


def train(images, folder, strategy, **options):
    saves = Saves(folder / "steps")
    average = [AverageStart(), EMAWeightAveraging(decay=0.5), saves]
    ending = Ending(average="wise_ft", points=[0, 0.5, 1])
    job["train"](images, folder, ending, *average, strategy=strategy, **options)
    return saves.kinds


@pytest.fixture(scope="module", params=["images", "activations"])
def straight(hard_images, tmp_path_factory, request):
    """What a run reads, its strategy, and its directory."""
    folder = tmp_path_factory.mktemp("straight")
    strategy = {"images": job["ALL"], "activations": LAST_LAYERS}[request.param]
    assert train(hard_images, folder, strategy) == {request.param}
    return strategy, folder


def states(folder, name):
    checkpoint = torch.load(folder / "checkpoints" / name, weights_only=True)
    return [checkpoint[k] for k in ("state_dict", "current_model_state", "averaging_state")]


def assert_same(found, expected):
    for state, other in zip(found, expected, strict=True):
        assert state.keys() == other.keys() != set()
        assert all(torch.equal(state[name], other[name]) for name in state)


def test_an_average_resumed_inside_an_epoch_equals_a_straight_one(straight, hard_images, tmp_path):
    strategy, folder = straight
    train(hard_images, tmp_path, strategy, ckpt_path=folder / "steps" / "step 2.ckpt")
    assert_same(states(tmp_path, "last.ckpt"), states(folder, "last.ckpt"))


def test_an_average_resumed_after_an_end_equals_a_straight_one(straight, hard_images, tmp_path):
    strategy, folder = straight
    train(hard_images, tmp_path, strategy, max_steps=4)
    last = tmp_path / "checkpoints" / "last.ckpt"
    train(hard_images, tmp_path, strategy, ckpt_path=last)
    assert_same(states(tmp_path, "last.ckpt"), states(folder, "last.ckpt"))
    assert job["rows"](tmp_path) == job["rows"](folder)


def test_the_last_epoch_in_best_ckpt_has_the_network_that_trains(hard_images, tmp_path):
    average = [AverageStart(), EMAWeightAveraging(decay=0.5)]
    job["train"](hard_images, tmp_path, Ending(choose="last"), *average, max_epochs=1)
    best, last = (states(tmp_path, f"{name}.ckpt") for name in ("best", "last"))
    assert not torch.equal(last[0]["head.output.weight"], last[1]["head.output.weight"])
    assert_same(best, last)


def test_the_average_is_not_the_network_and_is_what_the_end_measures(straight):
    _, folder = straight
    average, network, _ = states(folder, "last.ckpt")
    assert not torch.equal(average["head.output.weight"], network["head.output.weight"])
    best, epoch = (folder / "checkpoints" / name for name in ("best.ckpt", "best_epoch.ckpt"))
    kept = torch.load(epoch if epoch.is_file() else best, weights_only=True)
    task = ImageTask(job["Backbone"]("test_resnet", weights="random", img_size=32), num_classes=2)
    assert task.load_state_dict(kept["state_dict"])
    assert {row["candidate"] for row in job["rows"](folder)} >= {"best epoch", "start"}
