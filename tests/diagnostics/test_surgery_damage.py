import pytest
import torch

from tltool.data.datamodules.image_folder import ImageFolderDataModule
from tltool.diagnostics import surgery_damage
from tltool.diagnostics.surgery_damage import SurgeryDamage, measure_damage, measure_drift
from tltool.models.backbone import WHOLE, Backbone

SILU = {"swap_activations": "silu"}


def made(*surgery, weights="random"):
    return Backbone("test_resnet", weights=weights, surgery=surgery, img_size=32)


@pytest.fixture
def weights(tmp_path):
    torch.save(made().model.state_dict(), tmp_path / "weights.pth")
    return str(tmp_path / "weights.pth")


@pytest.fixture
def data(images):
    return ImageFolderDataModule(images, data_config=made().data_config, num_workers=0)


@pytest.mark.parametrize("surgery", [SILU, {"reinitialize": [-1]}, {"add_lora": 2}])
def test_without_surgery_a_backbone_is_as_its_weights_are(weights, surgery):
    former, own = made(surgery, weights=weights).without_surgery(), made(weights=weights)
    images = torch.randn(2, 3, 32, 32)
    assert torch.equal(former.eval()(images), own.eval()(images))


@pytest.mark.parametrize("surgery", [SILU, {"reinitialize": [-1]}, {"replace_norms": "group"}])
def test_random_weights_stay_the_same_ones_without_surgery(surgery):
    torch.manual_seed(0)
    own = made().state_dict()
    torch.manual_seed(0)
    edited = made(surgery).calibrate_(torch.randn(8, 3, 32, 32))
    former = edited.without_surgery().state_dict()
    assert former.keys() == own.keys()
    assert all(torch.equal(value, former[name]) for name, value in own.items())


def test_an_exact_edit_moves_no_feature(data, weights):
    damage = measure_damage(made({"add_lora": 2}, weights=weights), data)
    assert {drift.length for drift in damage.drifts.values()} == {0.0}
    assert torch.equal(damage.before, damage.after)
    assert damage.is_within_noise


def test_layers_in_front_of_an_edit_do_not_move(data, weights):
    edit = {"swap_activations": {"to": "tanh", "only": "layer3.*"}}
    drifts = measure_damage(made(edit, weights=weights), data).drifts
    moved = [layer for layer, drift in drifts.items() if drift.length > 0]
    assert moved == ["layer3", "layer4", WHOLE]


def test_of_many_images_a_share_is_probed(data, monkeypatch):
    monkeypatch.setattr(surgery_damage, "MOST_TRAIN", 8)
    monkeypatch.setattr(surgery_damage, "MOST_VAL", 2)
    damage = measure_damage(made(SILU), data)
    assert (damage.num_train, len(damage.after)) == (8, 2)


def test_a_drift_is_measured_without_random_numbers_and_modes_stay(data):
    backbone = made(SILU).train()
    torch.manual_seed(0)
    expected = torch.get_rng_state()
    assert measure_drift(backbone, data).length > 0
    assert torch.equal(torch.get_rng_state(), expected)
    assert backbone.training


@pytest.mark.parametrize(
    ("lost", "gained", "is_noise"),
    [(0, 0, True), (3, 3, True), (4, 3, True), (12, 4, False), (1, 4, True), (0, 12, False)],
)
def test_a_loss_above_its_error_is_no_noise_and_a_gain_must_be_beyond_chance(
    lost, gained, is_noise
):
    before = torch.arange(100) >= gained
    after = torch.arange(100) < 100 - lost
    assert SurgeryDamage(before, after, None, 100, {}).is_within_noise == is_noise
