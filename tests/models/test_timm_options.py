"""Options of timm's models: each is taken, with an effect, or refused."""

import contextlib
import importlib.util
import inspect
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file
from timm.layers import resample_abs_pos_embed

from tltool.models.backbone import Backbone
from tltool.models.pixel_backbone import NAME as PIXELS
from tltool.models.serialization import rebuild
from tltool.models.timm_catalog import count_parameters
from tltool.models.timm_options import model_class, takes_option

SCRIPT = Path(__file__).parents[2] / "scripts" / "timm_options.py"


@pytest.fixture(scope="module")
def script():
    """The script that tries all options on all models."""
    spec = importlib.util.spec_from_file_location("timm_options", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def smallest_of_each_family():
    families = {}
    for name in timm.list_models(exclude_filters=PIXELS):
        family = timm.models.model_entrypoint(name).__module__
        families.setdefault(family, []).append(name)
    return sorted(min(names, key=count_parameters) for names in families.values())


NO_EFFECT = "`drop_rate` has no effect on the features"
OTHER_SIZE = "does not take images of the size"
VERDICTS = [
    ("deit_tiny_distilled_patch16_224", "img_size", "taken"),
    ("test_vit", "img_size", "taken"),
    ("test_resnet", "img_size", "taken"),
    ("test_byobnet", "img_size", "taken"),
    ("test_coatnet", "img_size", "taken"),
    ("efficientformer_l1", "img_size", OTHER_SIZE),
    ("test_resnet", "drop_rate", "taken"),
    ("test_vit", "drop_rate", "taken"),
    ("levit_128s", "drop_rate", NO_EFFECT),
    ("vgg11", "drop_path_rate", "vgg11 has no `drop_path_rate`"),
    ("cs3darknet_focus_s", "drop_path_rate", "taken"),
    ("hrnet_w18_small", "drop_path_rate", "has no `drop_path_rate`"),
    ("vgg11", "grad_checkpointing", "vgg11 has no gradient checkpointing"),
    ("test_vit", "grad_checkpointing", "taken"),
    ("csatv2", "in_chans", OTHER_SIZE),
    ("test_vit", "in_chans", "taken"),
]


@pytest.mark.filterwarnings("ignore:CSATv2 is designed:UserWarning")
@pytest.mark.parametrize(("name", "option", "said"), VERDICTS)
def test_an_option_is_taken_or_refused_in_words(script, name, option, said):
    assert said in script.verdict(name, option, script.options_to_try(name)[option])


def timm_takes(name, size, **options):
    """Tell whether timm itself builds a model with options, and it takes images of this size."""
    with contextlib.suppress(TypeError, AssertionError, RuntimeError), torch.device("meta"):
        model = timm.create_model(name, num_classes=0, **options).eval()
        model(torch.empty(1, 3, size, size))
        return True
    return False


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:CSATv2 is designed:UserWarning")
@pytest.mark.parametrize("name", smallest_of_each_family())
def test_each_family_takes_what_timm_takes_and_refuses_the_rest(script, name):
    size = script.options_to_try(name)["img_size"]
    takes_size = timm_takes(name, size, img_size=size) or timm_takes(name, size)
    assert (script.verdict(name, "img_size", size) == "taken") == takes_size
    takes_rate = timm_takes(name, size // 2, drop_path_rate=0.1)
    assert takes_option(model_class(name), "drop_path_rate") == takes_rate


@pytest.mark.parametrize("name", ["deit_tiny_distilled_patch16_224", "test_vit", "test_resnet"])
def test_weights_are_adapted_to_the_size_that_the_network_is_built_for(name, tmp_path):
    save_file(timm.create_model(name).state_dict(), tmp_path / "weights.safetensors")
    backbone = Backbone(name, str(tmp_path / "weights.safetensors"), img_size=64).eval()
    assert backbone.data_config["input_size"] == [3, 64, 64]
    assert backbone(torch.randn(1, 3, 64, 64)).shape == (1, backbone.num_features)


def test_a_size_that_the_patches_do_not_divide_is_refused_with_the_own_one():
    with pytest.raises(
        ValueError, match=r"test_vit does not take .*3, 100, 100.* own \[3, 160, 160\]"
    ):
        Backbone("test_vit", "random", img_size=100)


@pytest.mark.parametrize("size", [150, [224, 150], [150, 224]])
def test_a_size_is_refused_of_whose_last_pixels_nothing_would_be_seen(size):
    with pytest.raises(ValueError, match=r"size .*150.* \(its patches have 4 x 4 pixels\)"):
        Backbone("swin_tiny_patch4_window7_224", "random", img_size=size)


def test_a_size_that_the_patches_do_not_divide_but_the_weights_were_trained_with_is_taken():
    with torch.device("meta"):  # 384 is no multiple of 14.
        Backbone("vit_so400m_patch14_siglip_384", "random", img_size=384)


@pytest.mark.filterwarnings("ignore::UserWarning:timm.layers.interpolate")  # of torch to timm
@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("test_resnet", [64, 96]),
        ("test_vit", [64, 96]),
        ("deit_tiny_distilled_patch16_224", [160, 224]),
        ("swin_tiny_patch4_window7_224", [160, 224]),
    ],
)
def test_weights_are_adapted_to_a_rectangle(name, size, tmp_path):
    save_file(timm.create_model(name).state_dict(), tmp_path / "weights.safetensors")
    backbone = Backbone(name, str(tmp_path / "weights.safetensors"), img_size=size).eval()
    assert backbone.data_config["input_size"] == [3, *size]
    assert backbone(torch.randn(1, 3, *size)).shape == (1, backbone.num_features)


def test_a_position_embedding_is_resampled_to_a_rectangle_as_timm_does(tmp_path):
    model = timm.create_model("test_vit")
    save_file(model.state_dict(), tmp_path / "weights.safetensors")
    backbone = Backbone("test_vit", str(tmp_path / "weights.safetensors"), img_size=[64, 96])
    expected = resample_abs_pos_embed(model.pos_embed, (4, 6), num_prefix_tokens=1)
    torch.testing.assert_close(backbone.model.pos_embed, expected)


@pytest.mark.parametrize("name", ["nest_tiny", "convit_tiny", "mvitv2_tiny"])
def test_a_network_that_takes_squares_alone_says_so(name):
    with pytest.raises(ValueError, match=r"size .*224, 448.* choose a square or an `img_size`"):
        Backbone(name, "random", img_size=[224, 448])


@pytest.mark.parametrize("size", [0, [64], [64, 64, 3], [64, 0]])
def test_an_image_size_is_one_number_or_two(size):
    with pytest.raises(ValueError, match="must be one number of pixels, or height and width"):
        Backbone("test_resnet", "random", img_size=size)


def test_a_size_that_is_too_small_for_a_network_is_refused():
    with pytest.raises(
        ValueError, match=r"inception_v3 does not take images of the size \[3, 32, 32\]"
    ):
        Backbone("inception_v3", "random", img_size=32)


def test_dropout_behind_the_layer_that_the_head_is_put_on_is_refused():
    with pytest.raises(ValueError, match=f"{NO_EFFECT} of test_resnet.* set `dropout` of the head"):
        Backbone("test_resnet", "random", stop_at="layer2", drop_rate=0.1)


def test_stochastic_depth_behind_the_layer_that_the_head_is_put_on_is_refused():
    with pytest.raises(ValueError, match="`drop_path_rate` has no effect on test_resnet"):
        Backbone("test_resnet", "random", stop_at="act1", drop_path_rate=0.1)


def test_a_checkpoint_with_an_option_without_effect_is_still_rebuilt():
    description = Backbone("levit_128s", "random").description
    description["init_args"]["drop_rate"] = 0.1
    assert rebuild(description, weights="random").num_features == 384


@pytest.mark.parametrize("option", ["img_size", "drop_rate", "in_chans", "global_pool"])
def test_a_name_in_the_signature_is_an_option(option):
    assert takes_option(timm.models.VisionTransformer, option)


def test_arguments_that_no_configuration_has_are_no_options():
    assert "kwargs" in inspect.signature(timm.models.CspNet.__init__).parameters
    assert not takes_option(timm.models.CspNet, "img_size")


def test_fields_of_a_configuration_are_options():
    assert takes_option(timm.models.NaFlexVit, "drop_path_rate")
