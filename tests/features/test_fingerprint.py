import pytest
import torch

from tltool.data.transforms.image_transform import ImageTransform
from tltool.features.fingerprint import make_fingerprint


def name(backbone, preprocessing=None, **options):
    return make_fingerprint(backbone, preprocessing or {"mean": [0.5]}, **options).name


def test_the_same_backbone_made_again_has_the_same_name(make_backbone):
    assert name(make_backbone("test_vit")) == name(make_backbone("test_vit"))


def test_ways_to_the_same_numbers_make_no_difference(make_backbone):
    assert name(make_backbone(channels_last=False)) == name(make_backbone(channels_last=True))


@pytest.mark.parametrize(
    "options", [{"stop_at": "layer2"}, {"surgery": [{"swap_activations": "gelu"}]}]
)
def test_options_of_the_architecture_make_another_name(make_backbone, options):
    assert name(make_backbone(**options)) != name(make_backbone())


def test_an_edit_in_place_makes_another_name(make_backbone):
    backbone = make_backbone()
    before = name(backbone)
    backbone.model.act1 = torch.nn.GELU()
    assert name(backbone) != before


def own_activation(body, **attributes):
    """Return an activation of the user's own, whose class is typed in anew."""
    names = {"nn": torch.nn, "torch": torch, "__name__": "own"}
    exec(f"class Own(nn.Module):\n    def forward(self, x):\n        return {body}", names)
    activation = names["Own"]()
    vars(activation).update(attributes)
    return activation


@pytest.mark.parametrize(
    ("body", "attributes"),
    [("torch.tanh(x)", {"slope": 1.0}), ("3 * torch.relu(x)", {"slope": 1.0})]
    + [("torch.relu(x)", {"slope": slope}) for slope in (2.0, None, "steep", (1.0,))],
)
def test_another_code_or_attribute_of_an_own_module_makes_another_name(
    make_backbone, body, attributes
):
    backbone = make_backbone()
    backbone.model.act1 = own_activation("torch.relu(x)", slope=1.0)
    before = name(backbone)
    backbone.model.act1 = own_activation("torch.relu(x)", slope=1.0)
    assert name(backbone) == before
    backbone.model.act1 = own_activation(body, **attributes)
    assert name(backbone) != before


def own_with_functions():
    """Return an own activation that holds functions and objects, each made anew."""
    activation = own_activation("torch.relu(x)", steps=[lambda x: x, object()])
    type(activation).steps = (lambda x: x, object())
    type(activation).apply = lambda self, x, steps=[abs]: x
    return activation


def test_the_addresses_of_what_an_own_module_holds_make_no_difference(make_backbone):
    backbone = make_backbone()
    backbone.model.act1 = own_with_functions()
    before = name(backbone)
    backbone.model.act1 = own_with_functions()
    assert name(backbone) == before


def test_a_number_that_a_module_of_a_library_holds_makes_another_name(make_backbone):
    backbone = make_backbone("test_vit")
    before = name(backbone)
    backbone.model.blocks[0].attn.scale *= 2
    assert name(backbone) != before


def test_whether_modules_train_makes_no_difference(make_backbone):
    backbone = make_backbone()
    assert name(backbone.train()) == name(backbone.eval())


def test_another_attribute_of_an_own_transform_makes_another_name(make_backbone):
    backbone = make_backbone()

    class Clipped(ImageTransform):
        most = 1.0

    transform = Clipped(backbone.data_config)
    plain, before = ImageTransform(backbone.data_config), transform.describe()
    transform.most = 0.5
    described = (plain.describe(), before, transform.describe())
    assert len({name(backbone, each) for each in described}) == 3


def test_a_buffer_makes_another_name(make_backbone):
    backbone = make_backbone()
    before = name(backbone)
    backbone.model.bn1.running_mean[0] += 1e-3
    assert name(backbone) != before


@pytest.mark.parametrize("augmentation", ["none", "crop"])
def test_each_geometry_makes_another_name(make_backbone, augmentation):
    backbone = make_backbone()
    configs = [
        backbone.data_config | {"crop_mode": crop_mode, "crop_pct": 1.0, "input_size": size}
        for crop_mode in ("center", "squash", "border")
        for size in ([3, 32, 48], [3, 48, 32])
    ]
    transforms = [ImageTransform(config, augmentation=augmentation) for config in configs]
    assert len({name(backbone, transform.describe()) for transform in transforms}) == 6


def test_preprocessing_and_precision_make_other_names(make_backbone):
    backbone = make_backbone()
    names = {
        name(backbone),
        name(backbone, {"mean": [0.4]}),
        name(backbone, precision="bf16-mixed"),
    }
    assert len(names) == 3


def test_another_version_of_a_package_makes_another_name(make_backbone, monkeypatch):
    backbone = make_backbone()
    before = name(backbone)
    monkeypatch.setattr("tltool.features.fingerprint.version", lambda _: "99")
    assert name(backbone) != before


@pytest.mark.parametrize("architecture", ["test_vit", "test_efficientnet", "test_convnext"])
def test_the_text_of_the_modules_names_no_address(make_backbone, architecture):
    assert make_fingerprint(make_backbone(architecture), {}) == make_fingerprint(
        make_backbone(architecture), {}
    )
