import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from tltool.data.datamodules.digits import DigitsDataModule


@pytest.fixture
def data(data_config):
    gray = data_config | {"input_size": (1, 8, 8), "mean": (0.0,), "std": (1.0,), "crop_pct": 1.0}
    return DigitsDataModule(data_config=gray, num_workers=0)


def number(path):
    return int(path.rpartition("/")[2])


def test_pixels_and_labels_are_those_of_scikit_learn(data):
    digits, batch = load_digits(), next(iter(data.val_dataloader()))
    rows = [number(path) for path in batch["paths"]]
    assert batch["labels"].tolist() == digits.target[rows].tolist()
    assert np.allclose(batch["images"][:, 0] * 16, digits.images[rows], atol=16 * 0.5 / 255)


def test_each_digit_is_in_one_split(data):
    splits = (data.samples(split) for split in ("train", "val", "test"))
    assert sorted(number(path) for split in splits for path in split.paths) == list(range(1797))


def test_given_class_names_decide_the_labels():
    reversed_names = [str(digit) for digit in range(9, -1, -1)]
    plain, turned = DigitsDataModule(), DigitsDataModule(class_names=reversed_names)
    pairs = zip(plain.samples("val").labels, turned.samples("val").labels, strict=True)
    assert all(a == 9 - b for a, b in pairs)


def test_three_channels_and_mixing_work_too(data_config):
    data = DigitsDataModule(data_config=data_config, num_workers=0, mixup=0.2, augmentation="crop")
    batch = next(iter(data.train_dataloader()))
    assert batch["images"].shape == (32, 3, 32, 32)


def test_spawned_workers_decode_images_from_memory(data):
    loader = data.test_dataloader()
    alone = next(iter(loader))
    data.num_workers = 1
    loader = data.test_dataloader()
    loader.multiprocessing_context = "spawn"
    assert torch.equal(next(iter(loader))["images"], alone["images"])


def test_without_scikit_learn_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'tltool\[digits\]'"):
        DigitsDataModule().setup("fit")
