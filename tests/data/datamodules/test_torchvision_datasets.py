import inspect
import json
import pickle
import re
import struct

import numpy as np
import pytest
from PIL import Image
from torchvision import datasets

from tltool.data.datamodules.torchvision_datasets import (
    TORCHVISION_DATASETS,
    TorchvisionDataModule,
)


def write_idx(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
    path.write_bytes(header + array.tobytes())


@pytest.fixture
def fashion(tmp_path):
    """The files of FashionMNIST, with 40 training and 10 test images of noise."""
    random = np.random.default_rng(0)
    for split, count in (("train", 40), ("t10k", 10)):
        raw = tmp_path / "FashionMNIST" / "raw"
        images = random.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        write_idx(raw / f"{split}-images-idx3-ubyte", images)
        write_idx(raw / f"{split}-labels-idx1-ubyte", np.arange(count, dtype=np.uint8) % 10)
    return tmp_path


@pytest.fixture
def eurosat(images):
    root = images({"Forest": 20, "River": 20}, below="eurosat/2750", suffix=".jpg")
    return TorchvisionDataModule("EuroSAT", root)


def test_the_documentation_lists_the_names_of_the_table():
    listed = TorchvisionDataModule.__doc__.partition("Its name in torchvision:")[2]
    names = re.split(r",\s+|\s+or\s+", listed.partition(".")[0].strip())
    assert names == list(TORCHVISION_DATASETS)


@pytest.mark.parametrize("name", TORCHVISION_DATASETS)
def test_torchvision_takes_the_arguments_of_the_table(name):
    dataset = getattr(datasets, name)
    taken = [inspect.signature(cls).parameters for cls in dataset.__mro__[:-1]]
    asked = {key for split in TORCHVISION_DATASETS[name].splits.values() for key in split}
    assert asked | {"root", "download"} <= {key for parameters in taken for key in parameters}


@pytest.mark.parametrize("name", TORCHVISION_DATASETS)
def test_torchvision_has_the_labels_of_the_table(name):
    mro = getattr(datasets, name).__mro__[:-1]
    source = "".join(inspect.getsource(cls) for cls in mro if "torchvision" in cls.__module__)
    assert f"self.{TORCHVISION_DATASETS[name].labels}" in source


def test_its_own_test_split_is_kept(fashion):
    data = TorchvisionDataModule("FashionMNIST", fashion)
    assert [len(data.samples(split)) for split in ("train", "val", "test")] == [30, 10, 10]
    assert all(path.startswith("FashionMNIST/test/") for path in data.samples("test").paths)


def test_class_names_are_those_of_torchvision(fashion):
    data = TorchvisionDataModule("FashionMNIST", fashion)
    assert data.class_names == datasets.FashionMNIST.classes


def test_a_batch_has_the_images_of_torchvision(fashion, data_config):
    data = TorchvisionDataModule("FashionMNIST", fashion, num_workers=0, data_config=data_config)
    batch = next(iter(data.test_dataloader()))
    image, label = datasets.FashionMNIST(fashion, train=False)[3]
    assert batch["labels"][3] == label
    assert (batch["images"][3] == data.transform()(image.convert("RGB"))).all()


def test_the_decoder_can_be_pickled(fashion):
    decoder = TorchvisionDataModule("FashionMNIST", fashion).decoder
    copy = pickle.loads(pickle.dumps(decoder))
    assert copy("FashionMNIST/test/000003", mode="L").size == (28, 28)


def test_a_data_set_without_splits_is_split_in_three(eurosat):
    assert [len(eurosat.samples(split)) for split in ("train", "val", "test")] == [26, 8, 6]
    assert eurosat.class_names == ["Forest", "River"]


def test_files_are_decoded(eurosat, data_config):
    eurosat.data_config, eurosat.num_workers = data_config, 0
    assert next(iter(eurosat.val_dataloader()))["images"].shape == (8, 3, 32, 32)


def test_given_class_names_decide_the_labels(images):
    root = images({"Forest": 20, "River": 10}, below="eurosat/2750", suffix=".jpg")
    data = TorchvisionDataModule("EuroSAT", root, class_names=["River", "Lake", "Forest"])
    assert data.train_class_counts == [6, 0, 13]


def test_food101_is_read(images):
    root = images({"pie": 4, "soup": 4}, below="food-101/images", suffix=".jpg")
    (root / "food-101" / "meta").mkdir()
    for split, numbers in (("train", (0, 1, 2)), ("test", (3,))):
        listed = {name: [f"{name}/{i:03}" for i in numbers] for name in ("pie", "soup")}
        (root / "food-101" / "meta" / f"{split}.json").write_text(json.dumps(listed))
    data = TorchvisionDataModule("Food101", root, val_fraction=0.34)
    assert [len(data.samples(split)) for split in ("train", "val", "test")] == [4, 2, 2]
    assert data.class_names == ["pie", "soup"]


def test_imagenette_has_pairs_of_names_and_no_test_split(images):
    folders = {"n01440764": 3, "n02102040": 3}
    images(folders, below="imagenette2-320/train", suffix=".jpeg")
    root = images(folders, below="imagenette2-320/val", suffix=".jpeg")
    for path in root.rglob("*.jpeg"):
        Image.open(path).save(path.with_suffix(".JPEG"))
    data = TorchvisionDataModule("Imagenette", root)
    assert data.class_names == ["tench", "English springer"]
    assert data.splits.test is None
    with pytest.raises(ValueError, match="Imagenette has no images for testing"):
        data.setup("test")


def test_missing_files_say_how_to_get_them(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"CIFAR10 is not in .*--data.download true"):
        TorchvisionDataModule("CIFAR10", tmp_path).setup("fit")


def test_an_unknown_name_gets_the_nearest_one(tmp_path):
    with pytest.raises(ValueError, match=r"Unknown data set .*Choose one of: CIFAR10"):
        TorchvisionDataModule("CIFAR-10", tmp_path)
