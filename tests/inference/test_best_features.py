"""What measures a fit at its end reads what is kept: the same features, and no image again."""

import pytest
import torch

from tltool.data.datamodules.image_folder import ImageFolderDataModule
from tltool.data.loading.image_dataset import ImageDataset
from tltool.features.extraction import extract_features
from tltool.finetuning.strategies import LastBlocks
from tltool.inference.best_features import BestFeatures
from tltool.inference.split_features import split_features
from tltool.models.backbone import Backbone
from tltool.models.layer_groups import layer_groups
from tltool.training.checkpoint_io import TASK
from tltool.training.evaluation_front import evaluation_front
from tltool.training.image_task import ImageTask


@pytest.fixture
def task():
    torch.manual_seed(0)
    backbone = Backbone("test_resnet", weights="random", img_size=32)
    return ImageTask(backbone, num_classes=2).eval()


@pytest.fixture
def data(task, images):
    return ImageFolderDataModule(
        images, data_config=task.data_config, num_workers=0, batch_size=8, augmentation="crop"
    )


@pytest.fixture
def caching(tmp_path):
    return {"enabled": True, "cache_dir": str(tmp_path / "cache"), "max_size": "1GB"}


@pytest.fixture
def front(task, data):
    schedule = LastBlocks(2).resolved_schedule(list(layer_groups(task)), 6)
    return evaluation_front(task, schedule, data, max_bytes=10**9)


@pytest.fixture
def begun(task, data, caching, front):
    """Features of the network in front of a fit, by its activations."""
    return split_features(task.backbone, data, "train", caching=caching, front=front)


@pytest.fixture
def best(task, data, caching, front, tmp_path):
    """Return the features behind a fit that changed some layer."""

    def run(layer="layer4"):
        name = f"backbone.model.{layer}.0.bn2.bias"
        state = task.state_dict()
        content = {"state_dict": {**state, name: state[name] + 1}, TASK: task.task_config}
        torch.save(content, tmp_path / "best.ckpt")
        return BestFeatures(tmp_path / "best.ckpt", data, caching=caching, front=front)

    return run


@pytest.fixture
def no_decoding(monkeypatch):
    """Let whatever decodes an image fail."""
    return lambda: monkeypatch.setattr(ImageDataset, "_decoded", None)


def passed(backbone, data, split="train"):
    return extract_features(backbone, data.evaluation_dataloader(split), description="")[0]


def assert_same(found, expected):
    difference = (found - expected).norm(dim=1) / expected.norm(dim=1)
    assert difference.max() < 1e-5


def test_features_by_activations_are_those_of_a_whole_pass(begun, task, data):
    assert_same(begun, passed(task.backbone, data))


def test_they_are_kept_for_those_who_have_no_activations(begun, task, data, caching, no_decoding):
    no_decoding()
    assert torch.equal(split_features(task.backbone, data, "train", caching=caching), begun)


def test_trained_layers_run_on_activations_that_are_kept(begun, best, data, no_decoding):
    measured = best()
    expected = passed(measured.backbone, data)
    assert not torch.allclose(expected, begun, rtol=1e-3)
    no_decoding()
    assert_same(measured.of("train"), expected)
    assert_same(measured.of_training([3, 1]), expected[[3, 1]])


def test_a_network_that_did_not_change_has_its_features_in_the_cache(
    begun, data, caching, task, tmp_path, no_decoding
):
    torch.save({"state_dict": task.state_dict(), TASK: task.task_config}, tmp_path / "best.ckpt")
    measured = BestFeatures(tmp_path / "best.ckpt", data, caching=caching)
    no_decoding()
    assert torch.equal(measured.of("train"), begun)


def test_activations_of_layers_that_did_change_are_not_read(begun, best, data):
    measured = best("layer1")
    assert_same(measured.of("train"), passed(measured.backbone, data))


def test_images_of_a_split_are_read_once(best, data, monkeypatch):
    measured = best("layer1")
    first = measured.of("val")
    monkeypatch.setattr(ImageDataset, "_decoded", None)
    assert measured.of("val") is first


def test_where_the_disk_is_too_full_images_are_read(task, data, caching, front, monkeypatch, best):
    usage = type("Usage", (), {"free": 1000})
    monkeypatch.setattr("tltool.features.store.shutil.disk_usage", lambda _: usage)
    found = split_features(task.backbone, data, "train", caching=caching, front=front)
    assert_same(found, passed(task.backbone, data))
    measured = best()
    assert_same(measured.of("train"), passed(measured.backbone, data))
