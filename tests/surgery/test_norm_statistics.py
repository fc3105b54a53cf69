import numpy as np
import pytest
import torch
from torch import nn

from tltool.surgery.calibration import calibrate_, computing_old, needs_calibration
from tltool.surgery.norm_statistics import reestimate_statistics


def recorded_inputs(model, images):
    inputs = {}
    norms = {n: m for n, m in model.named_modules() if isinstance(m, nn.BatchNorm2d)}
    hooks = [
        norm.register_forward_pre_hook(lambda m, args, name=name: inputs.update({name: args[0]}))
        for name, norm in norms.items()
    ]
    with torch.no_grad():
        model.eval()(images)
    for hook in hooks:
        hook.remove()
    return {
        name: value.double().movedim(1, -1).flatten(0, -2).numpy() for name, value in inputs.items()
    }


@pytest.mark.parametrize("name", ["test_resnet", "test_efficientnet"])
def test_statistics_are_those_of_numpy_on_the_inputs(make_backbone, images, name):
    model = make_backbone(name)
    before = {key: value.numpy().copy() for key, value in model.state_dict().items()}
    reestimate_statistics(model, 0.3)
    calibrate_(model, images)
    for norm, rows in recorded_inputs(model, images).items():
        mean = 0.7 * before[f"{norm}.running_mean"] + 0.3 * rows.mean(axis=0)
        variance = 0.7 * before[f"{norm}.running_var"] + 0.3 * rows.var(axis=0, ddof=1)
        own = model.get_submodule(norm)
        np.testing.assert_allclose(own.running_mean.numpy(), mean, atol=1e-5)
        np.testing.assert_allclose(own.running_var.numpy(), variance, atol=1e-5, rtol=1e-5)


def test_only_those_that_are_named_change_and_keys_stay(make_backbone, images):
    model = make_backbone("test_resnet")
    before = {key: value.clone() for key, value in model.state_dict().items()}
    report = reestimate_statistics(model, 1.0, only="layer4.*")
    after = calibrate_(model, images).state_dict()
    changed = {key for key, value in before.items() if not torch.equal(value, after[key])}
    assert changed == {
        f"{n}.{kind}" for n in report.reestimated for kind in ("running_mean", "running_var")
    }
    assert {key.rpartition(".")[2] for key in after.keys() - before.keys()} == {"is_calibrated"}


def test_a_state_dict_brings_them_without_images(make_backbone, images):
    model, rebuilt = make_backbone("test_resnet").eval(), make_backbone("test_resnet").eval()
    for each in (model, rebuilt):
        reestimate_statistics(each, 1.0)
    with pytest.raises(RuntimeError, match="takes them from images"):
        rebuilt(images)
    rebuilt.load_state_dict(calibrate_(model, images).state_dict())
    assert not needs_calibration(rebuilt)
    assert torch.equal(rebuilt(images), model(images))


def test_shapes_can_be_seen_before(make_backbone, images):
    model = make_backbone("test_resnet").eval()
    reestimate_statistics(model, 1.0)
    with computing_old(model):
        assert torch.equal(model(images), make_backbone("test_resnet").eval()(images))


def test_what_trains_updates_the_statistics_as_ever(make_backbone, images):
    model = make_backbone("test_resnet")
    reestimate_statistics(model, 1.0)
    mean = calibrate_(model, images).bn1.running_mean.clone()
    model.train()(images + 1)
    assert not torch.equal(model.bn1.running_mean, mean)


def test_one_that_runs_twice_is_blended_once(images):
    norm = nn.BatchNorm2d(3)
    model = nn.Sequential(norm, norm)
    reestimate_statistics(model, 0.5)
    calibrate_(model, images)
    moments = torch.cat([images, norm.eval()(images)]).double().mean((0, 2, 3))
    torch.testing.assert_close(norm.running_mean.double(), moments / 2, atol=1e-5, rtol=0)


def test_a_network_without_batch_norms_is_refused(make_backbone):
    with pytest.raises(ValueError, match="has no batch norms with running statistics"):
        reestimate_statistics(make_backbone("test_vit"), 0.1)


def test_a_pattern_without_a_norm_says_what_there_is(make_backbone):
    with pytest.raises(ValueError, match=r"'stages\.\*' matches no batch norm.*conv1\.1"):
        reestimate_statistics(make_backbone("test_resnet"), 0.1, only="stages.*")


@pytest.mark.parametrize("blend", [0, 1.5, True])
def test_a_blend_out_of_its_range_is_refused(make_backbone, blend):
    with pytest.raises(ValueError, match=r"`blend` must be in \(0, 1\]"):
        reestimate_statistics(make_backbone("test_resnet"), blend)
