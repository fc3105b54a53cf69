import json

import pytest
import timm
import torch
from safetensors.torch import save_file
from timm.models._hub import save_for_hf

from tltool.models.backbone import Backbone
from tltool.models.group_names import find_group_names
from tltool.models.serialization import rebuild

IMAGES = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def folder(tmp_path):
    """A transformer for images of 32 pixels that averages its tokens, as timm saves it."""
    network = timm.create_model("test_vit", num_classes=3, img_size=32, global_pool="avg")
    data_config = {"mean": (0.1, 0.2, 0.3), "crop_pct": 0.5}
    save_for_hf(network, tmp_path, safe_serialization=True, data_config=data_config)
    return tmp_path


def change(folder, **values):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def timms_features(folder):
    network = timm.create_model(f"local-dir:{folder}", pretrained=True, num_classes=0)
    return network.eval()(IMAGES)


def test_a_folder_of_timm_gives_the_features_of_timm(folder):
    backbone = Backbone(f"local-dir:{folder}").eval()
    torch.testing.assert_close(backbone(IMAGES), timms_features(folder))


def test_a_folder_is_named_as_weights_too(folder):
    backbone = Backbone("test_vit", f"local-dir:{folder}").eval()
    torch.testing.assert_close(backbone(IMAGES), timms_features(folder))


@pytest.mark.parametrize("prefix", ["local-dir:", ""])
def test_the_preprocessing_is_that_of_the_folder(folder, prefix):
    config = Backbone("test_vit", f"{prefix}{folder}").data_config
    assert (config["mean"], config["crop_pct"]) == ([0.1, 0.2, 0.3], 0.5)
    assert config["input_size"] == [3, 32, 32]


def test_a_checkpoint_needs_the_folder_no_more(folder):
    backbone = Backbone(f"local-dir:{folder}").eval()
    (folder / "config.json").unlink()
    rebuilt = rebuild(backbone.description, weights="random").eval()
    rebuilt.load_state_dict(backbone.state_dict())
    assert torch.equal(rebuilt(IMAGES), backbone(IMAGES))


@pytest.mark.parametrize("source", ["hf-hub:stranger/network", "local-dir:/etc"])
def test_a_checkpoint_that_names_a_source_as_its_model_looks_nothing_up(source):
    description = Backbone("test_resnet", weights="random").description
    changed = {**description, "init_args": {**description["init_args"], "name": source}}
    with pytest.raises(ValueError, match=f"names '{source}' as its model. One of tltool keeps"):
        rebuild(changed)


def test_another_size_adapts_the_weights_of_the_folder(folder):
    assert Backbone(f"local-dir:{folder}", img_size=64).data_config["input_size"] == [3, 64, 64]


def test_weights_of_grey_images_are_adapted_to_colors(tmp_path):
    save_for_hf(timm.create_model("test_resnet", in_chans=1), tmp_path)
    backbone = Backbone(f"local-dir:{tmp_path}").eval()
    grey = timm.create_model(f"local-dir:{tmp_path}", pretrained=True, num_classes=0).eval()
    torch.testing.assert_close(backbone(IMAGES[:, :1].repeat(1, 3, 1, 1)), grey(IMAGES[:, :1]))


def test_random_weights_of_the_model_in_a_folder_are_random(folder):
    backbone = Backbone(f"local-dir:{folder}", "random").eval()
    assert not torch.allclose(backbone(IMAGES), timms_features(folder))


def test_the_groups_of_a_folder_are_known_without_its_weights(folder):
    groups = list(Backbone(f"local-dir:{folder}").layer_groups())
    (folder / "model.safetensors").unlink()
    assert find_group_names(f"local-dir:{folder}", "auto") == groups


def test_weights_of_another_model_are_refused(folder):
    with pytest.raises(ValueError, match=r"those of test_vit, not of resnet18\. Set --model\.back"):
        Backbone("resnet18", f"local-dir:{folder}")


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("{", r"cannot be read \(Expecting property name"),
        ("[]", "names no `architecture` of timm: another tool wrote it"),
        ('{"architectures": ["ViTModel"]}', "names no `architecture` of timm"),
        ('{"architecture": "resnt18"}', "has no model 'resnt18'. Did you mean 'resnet18'"),
        ('{"architecture": "resnet18", "pretrained_cfg": 3}', "is damaged"),
    ],
)
def test_a_wrong_configuration_is_refused(folder, written, said):
    (folder / "config.json").write_text(written)
    with pytest.raises(ValueError, match=said):
        Backbone(f"local-dir:{folder}")


def test_a_folder_without_a_configuration_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"a folder without config\.json.* set `weights`"):
        Backbone(f"local-dir:{tmp_path}")


def test_a_missing_folder_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="names no folder"):
        Backbone(f"local-dir:{tmp_path / 'none'}")


@pytest.mark.parametrize("argument", ["checkpoint_path", "pretrained_cfg", "features_only"])
def test_a_configuration_asks_for_nothing_but_a_model(folder, argument):
    change(folder, model_args={argument: "/etc/passwd"})
    with pytest.raises(ValueError, match=f"sets {argument}, which is not for the model alone"):
        Backbone(f"local-dir:{folder}")


def test_arguments_that_the_model_does_not_take_are_refused(folder):
    change(folder, model_args={"patch_sice": 8})
    with pytest.raises(ValueError, match=r"timm cannot make test_vit with.*patch_sice"):
        Backbone(f"local-dir:{folder}")


class RunsCode:
    def __reduce__(self):
        return (exec, ("raise SystemExit",))


def test_code_in_the_weights_of_a_folder_is_not_run(folder):
    (folder / "model.safetensors").unlink()
    torch.save({"cls_token": RunsCode()}, folder / "pytorch_model.bin")
    with pytest.raises(ValueError, match=r"such as .*exec; tltool does not unpickle"):
        Backbone(f"local-dir:{folder}")


def test_weights_that_a_folder_lacks_are_an_error(folder):
    save_file({"cls_token": torch.ones(1, 1, 64)}, folder / "model.safetensors")
    with pytest.raises(ValueError, match="do not belong to test_vit: 1 of its 78 tensors fit"):
        Backbone(f"local-dir:{folder}")
