import copy

import pytest
import torch
from torch import nn

from tltool.surgery.activation_swap import swap_activations
from tltool.surgery.calibration import Calibrated, calibrate_, computing_old, needs_calibration
from tltool.surgery.channel_layout import Channels, find_channels
from tltool.surgery.channel_moments import channel_moments
from tltool.surgery.edits import apply_surgery_


def outputs_of(model, names, images):
    """Return what the modules of these names put out, call by call."""
    outputs = {name: [] for name in names}
    hooks = [
        model.get_submodule(name).register_forward_hook(
            lambda module, inputs, output, name=name: outputs[name].append(output.clone())
        )
        for name in names
    ]
    with torch.no_grad():
        model.eval()(images)
    for hook in hooks:
        hook.remove()
    return outputs


def largest_error(model, before, images):
    """Return how far mean and deviation of a channel are from the old ones, at most."""
    after, errors = outputs_of(model, before, images), []
    for name, outputs in after.items():
        dim = model.get_submodule(name).channels.dim
        for pair in zip(before[name], outputs, strict=True):
            old, new = (channel_moments(each, dim) for each in pair)
            errors += [(old.mean - new.mean).abs().max(), (old.std - new.std).abs().max()]
    return max(errors).item()


@pytest.mark.parametrize("to", ["mish", "elu"])
def test_moments_on_the_calibration_images_are_the_old_ones(backbone, images, to):
    before = outputs_of(backbone, matched_names(backbone, to, images), images)
    swap_activations(backbone, to, match="moments", example=images[:1])
    assert largest_error(calibrate_(backbone, images), before, images) < 1e-4


def matched_names(backbone, to, images):
    return list(swap_activations(copy.deepcopy(backbone), to).swapped)


@pytest.fixture
def matched(make_backbone, images):
    model = make_backbone("test_resnet").eval()
    swap_activations(model, "gelu", match="moments", example=images[:1])
    return model


def test_keys_and_values_of_the_model_are_kept(make_backbone, images, matched):
    before = make_backbone("test_resnet").state_dict()
    after = calibrate_(matched, images).state_dict()
    assert all(torch.equal(after[key], value) for key, value in before.items())
    own = {key.rpartition(".")[2] for key in after.keys() - before.keys()}
    assert own == {"scale", "shift", "is_calibrated"}


def test_without_values_forward_raises_with_the_remedy(matched, images):
    with pytest.raises(RuntimeError, match=r"calibrate_\(images\)` with about 128 shuffled"):
        matched(images)


def test_loaded_values_need_no_images(make_backbone, images, matched):
    rebuilt = make_backbone("test_resnet").eval()
    swap_activations(rebuilt, "gelu", match="moments", example=images[:1])
    calibrate_(matched, images)
    rebuilt.load_state_dict(matched.state_dict())
    assert not needs_calibration(rebuilt)
    assert torch.equal(rebuilt(images), matched(images))


def test_calibration_keeps_modes_and_statistics(matched, images):
    matched.train()
    statistics = matched.bn1.running_mean.clone()
    calibrate_(matched, images)
    assert all(module.training for module in matched.modules())
    assert torch.equal(matched.bn1.running_mean, statistics)


def test_it_is_done_once(matched, images):
    calibrate_(matched, images)
    scale = matched.act1.scale.clone()
    assert torch.equal(calibrate_(matched, 2 * images).act1.scale, scale)


def test_the_map_trains(matched, images):
    calibrate_(matched, images).train()(images).square().sum().backward()
    assert matched.act1.scale.grad.abs().sum() > 0
    assert matched.act1.shift.grad.abs().sum() > 0


class Twice(nn.Module):
    """Runs one activation behind two layers."""

    def __init__(self, width=8):
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 8, 3), nn.Conv2d(8, width, 3)
        self.act = nn.ReLU()

    def forward(self, x):
        return self.act(self.second(self.act(self.first(x))))


def test_one_that_runs_twice_is_matched_over_its_calls(images):
    torch.manual_seed(0)
    model = Twice()
    before = torch.cat([each.flatten(2) for each in outputs_of(model, ["act"], images)["act"]], 2)
    swap_activations(model, "gelu", match="moments", example=images[:1])
    calibrate_(model, images)
    after = torch.cat([each.flatten(2) for each in outputs_of(model, ["act"], images)["act"]], 2)
    old, new = channel_moments(before, 1), channel_moments(after, 1)
    torch.testing.assert_close((new.mean, new.std), (old.mean, old.std), atol=1e-4, rtol=0)


class Turned(nn.Module):
    """Runs its activation on channels that stand in front, and on channels that stand last."""

    def __init__(self):
        super().__init__()
        self.conv, self.linear, self.act = nn.Conv2d(3, 8, 3), nn.Linear(8, 8), nn.ReLU()

    def forward(self, x):
        return self.act(self.linear(self.act(self.conv(x)).movedim(1, -1))).movedim(-1, 1)


def test_one_with_channels_in_another_place_at_each_call_is_refused(images):
    with pytest.raises(ValueError, match=r"act are not known: its channels are in another place"):
        swap_activations(Turned(), "gelu", match="moments", example=images[:1])


def test_one_that_cannot_be_matched_stays_beside_those_that_can(images):
    model = nn.Sequential(Turned(), nn.Conv2d(8, 4, 1), nn.ReLU())
    report = swap_activations(model, "gelu", match="moments", example=images[:1])
    assert list(report.swapped) == ["2"]
    why = "out of reach of `match`: its channels are in another place at each call"
    assert report.kept == {"0.act": why}
    assert report.out_of_reach == ("0.act",)


def test_a_channel_that_becomes_constant_is_not_stretched(images):
    model = nn.Sequential(nn.Conv2d(3, 2, 1), nn.ReLU())
    nn.init.constant_(model[0].bias, 1e3)
    swap_activations(model, "tanh", match="moments", example=images[:1])
    calibrate_(model, images)
    assert model[1].scale.tolist() == [0, 0]
    torch.testing.assert_close(model(images).mean((0, 2, 3)), model[0](images).mean((0, 2, 3)))


def test_a_second_edit_takes_the_place_of_a_first_that_waits(make_backbone, images):
    model, once = make_backbone("test_vit").eval(), make_backbone("test_vit").eval()
    swap = {"match": "moments", "example": images[:1]}
    swap_activations(model, "relu", **swap)
    swap_activations(model, "silu", **swap)
    swap_activations(once, "silu", **swap)
    for each in (model, once):
        calibrate_(each, images)
    assert model.state_dict().keys() == once.state_dict().keys()
    assert torch.equal(model(images), once(images))


def test_the_shapes_of_an_uncalibrated_model_can_be_seen(matched, make_backbone, images):
    with computing_old(matched):
        assert torch.equal(matched(images), make_backbone("test_resnet").eval()(images))


@pytest.mark.parametrize(
    ("layers", "shape", "expected"),
    [
        ([nn.Conv2d(3, 8, 1)], (1, 3, 8, 8), Channels(8, 1)),
        ([nn.Linear(8, 8)], (1, 8, 8, 8), Channels(8, -1)),
        ([nn.Conv2d(8, 8, 1), nn.GroupNorm(2, 8)], (1, 8, 8, 8), Channels(8, 1)),
        ([nn.Linear(4, 8), nn.LayerNorm(8)], (1, 8, 4), Channels(8, -1)),
        ([nn.Linear(4, 8), nn.GLU()], (1, 3, 4), None),
        ([nn.Flatten()], (1, 3, 4), Channels(12, 1)),
    ],
)
def test_the_layer_in_front_tells_where_channels_are(layers, shape, expected):
    model = nn.Sequential(*layers, nn.Tanh())
    found = find_channels(model, [model[-1]], torch.zeros(shape))
    assert found.known.get(model[-1]) == expected
    assert (model[-1] in found.unknown) == (expected is None)


@pytest.mark.parametrize(
    ("layer", "shape", "expected"),
    [
        (nn.Linear(4, 2), (1, 3, 4), Channels(4, -1)),
        (nn.Conv2d(3, 2, 1), (1, 3, 4, 4), Channels(3, 1)),
    ],
)
def test_the_layer_behind_tells_where_none_in_front_does(layer, shape, expected):
    model = nn.Sequential(nn.Tanh(), nn.Dropout(), layer)
    assert find_channels(model, [model[0]], torch.zeros(shape)).known == {model[0]: expected}


def test_matching_needs_an_example(make_backbone):
    with pytest.raises(ValueError, match="Pass `example`, an image of the size"):
        swap_activations(make_backbone("test_resnet"), "gelu", match="moments")


def test_an_unknown_match_is_refused(make_backbone, images):
    edit = {"swap_activations": {"to": "gelu", "match": "means"}}
    with pytest.raises(ValueError, match=r"Unknown match 'means'.*moments"):
        apply_surgery_(make_backbone("test_resnet"), [edit], example=images[:1])


def test_an_example_is_no_argument_of_a_configuration(make_backbone):
    edit = {"swap_activations": {"to": "gelu", "example": 3}}
    with pytest.raises(ValueError, match="Unknown swap_activations argument 'example'"):
        apply_surgery_(make_backbone("test_resnet"), [edit])


def test_images_that_give_no_numbers_are_refused_with_the_layer(matched, images):
    with pytest.raises(ValueError, match=r"conv1\.2 gives values that are NaN or infinite"):
        calibrate_(matched, images * torch.nan)
    assert needs_calibration(matched)


def test_one_image_is_refused(matched, images):
    with pytest.raises(ValueError, match="at least 2 images, got 1"):
        calibrate_(matched, images[:1])


def test_a_report_says_what_is_matched(make_backbone, images):
    report = swap_activations(
        make_backbone("test_resnet"), "gelu", match="moments", example=images[:1]
    )
    assert str(report) == "Swapped 12 of 12 activations (relu) for gelu, moments matched."


def test_a_moved_model_takes_the_old_modules_along(matched):
    matched.double()
    assert isinstance(matched.act1, Calibrated)
    with computing_old(matched):
        assert matched(torch.randn(2, 3, 32, 32).double()).dtype == torch.float64
