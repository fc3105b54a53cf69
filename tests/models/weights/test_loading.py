import logging
from argparse import Namespace

import numpy as np
import pytest
import timm
import torch
from timm.utils import CheckpointSaver, ModelEmaV3

from tltool.models.backbone import Backbone
from tltool.models.weights.safetensors_file import save_weights
from tltool.models.weights.tensor_checks import check_tensors


@pytest.fixture(scope="module")
def stored():
    """The state dict of a small ResNet, with its classifier."""
    return timm.create_model("test_resnet").state_dict()


@pytest.fixture
def load(tmp_path):
    """Return a function that saves content as a file and loads it into a small ResNet."""

    def load(content, **options):
        torch.save(content, tmp_path / "weights.pth.tar")
        return Backbone("test_resnet", str(tmp_path / "weights.pth.tar"), **options).model

    return load


def with_prefix(state_dict, prefix, factor=1.0):
    return {f"{prefix}{key}": value * factor for key, value in state_dict.items()}


def test_a_checkpoint_of_timms_script_gives_its_average(load, stored):
    average = with_prefix(stored, "module.", 0.5)
    content = {"state_dict": stored, "state_dict_ema": average, "args": Namespace(lr=0.1)}
    torch.testing.assert_close(load(content).conv1[0].weight, stored["conv1.0.weight"] * 0.5)


def test_what_timm_itself_saves_while_it_trains_gives_the_average(tmp_path):
    network = timm.create_model("test_resnet", num_classes=3)
    average = ModelEmaV3(network)
    torch.nn.init.constant_(average.module.conv1[0].weight, 0.25)
    optimizer = torch.optim.AdamW(network.parameters())
    args = Namespace(model="test_resnet", lr=0.1, mean=None)
    saver = CheckpointSaver(network, optimizer, args, average, checkpoint_dir=str(tmp_path))
    saver.save_checkpoint(0, metric=np.float64(0.5))
    weights = Backbone("test_resnet", str(tmp_path / "last.pth.tar")).model.conv1[0].weight
    assert torch.equal(weights.unique(), torch.tensor([0.25]))


def test_another_set_of_weights_is_taken_by_its_key(load, stored):
    content = {"state_dict": stored, "state_dict_ema": with_prefix(stored, "module.", 0.5)}
    model = load(content, weights_key="state_dict")
    torch.testing.assert_close(model.conv1[0].weight, stored["conv1.0.weight"])


def test_a_lightning_checkpoint_of_others_gives_its_backbone(load, stored):
    content = {
        "pytorch-lightning_version": "2.1.0",
        "hyper_parameters": {"lr": 0.1, "args": Namespace(name="resnet")},
        "state_dict": with_prefix(stored, "net.model.") | {"criterion.weight": torch.ones(2)},
        "optimizer_states": [{"state": {0: {"exp_avg": torch.ones(2)}}}],
    }
    torch.testing.assert_close(load(content).conv1[0].weight, stored["conv1.0.weight"])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_weights_in_other_precisions_are_loaded_in_float32(load, stored, dtype):
    loaded = load({key: value.to(dtype) for key, value in stored.items()}).conv1[0].weight
    assert loaded.dtype == torch.float32
    torch.testing.assert_close(loaded, stored["conv1.0.weight"], rtol=1e-2, atol=1e-2)


def test_integers_in_the_place_of_weights_are_refused(load, stored):
    scaled = {key: (value * 100).to(torch.int8) for key, value in stored.items()}
    with pytest.raises(ValueError, match=r"are quantized: .* is torch\.int8\. Set `weights` to"):
        load(scaled)


@pytest.mark.filterwarnings("ignore::UserWarning")  # torch's, about its own storage
def test_quantized_tensors_are_refused():
    quantized = {"a": torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8)}
    with pytest.raises(ValueError, match=r"are quantized: a is torch\.qint8"):
        check_tensors(quantized, {"a": torch.ones(3)}, "weights.pth")


def test_tensors_without_values_are_refused(load, stored):
    with pytest.raises(ValueError, match=r"hold no values: .* was saved from the meta device"):
        load({key: value.to("meta") for key, value in stored.items()})


def test_a_head_of_another_size_is_left_and_said(load, stored, caplog):
    head = {"fc.weight": torch.ones(7, 96), "fc.bias": torch.ones(7)}
    with caplog.at_level(logging.INFO):
        load(stored | head)
    assert "left out: fc.bias, fc.weight; random: none" in caplog.text


def test_a_head_of_several_layers_is_left_and_said(load, stored, caplog):
    backbone = {key: value for key, value in stored.items() if not key.startswith("fc.")}
    with caplog.at_level(logging.INFO):
        load(backbone | {"fc.0.weight": torch.ones(9, 96), "fc.2.weight": torch.ones(7, 9)})
    assert "left out: fc.0.weight, fc.2.weight; random: none" in caplog.text


def test_a_key_for_weights_that_are_no_file_is_refused():
    with pytest.raises(ValueError, match="`weights_key` chooses among the weights of a file"):
        Backbone("test_resnet", "random", weights_key="state_dict")


def test_a_renamed_file_keeps_its_preprocessing(tmp_path):
    backbone = Backbone("test_resnet", "random")
    description = {"name": "test_resnet", "data_config": {"crop_pct": 0.5}}
    save_weights(tmp_path / "a.safetensors", backbone.model.state_dict(), description)
    (tmp_path / "a.safetensors").rename(tmp_path / "b.bin")
    assert Backbone("test_resnet", str(tmp_path / "b.bin")).data_config["crop_pct"] == 0.5


def test_a_classifier_with_a_norm_is_left(tmp_path):
    torch.save(timm.create_model("levit_128s").state_dict(), tmp_path / "levit.pth")
    Backbone("levit_128s", str(tmp_path / "levit.pth"))


def test_weights_that_cannot_be_adapted_to_a_size_say_so(tmp_path):
    torch.save(timm.create_model("pit_ti_224").state_dict(), tmp_path / "pit.pth")
    with pytest.raises(ValueError, match=r"does not adapt .* pit_ti_224 .*size.*pos_embed.* Leave"):
        Backbone("pit_ti_224", str(tmp_path / "pit.pth"), img_size=448)
