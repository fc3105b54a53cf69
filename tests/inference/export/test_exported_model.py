"""The network of a task alone, with what can be merged and folded merged and folded."""

import pytest
import torch
from torch import nn

from tltool.inference.export.agreement import check_agreement, compare, example_images
from tltool.inference.export.exported_model import exported_model, give_target_units_

INPUT_NORMS = ["center", "standardize", "whiten", "batch"]


@pytest.mark.parametrize("hidden", [[], [8]])
@pytest.mark.parametrize("input_norm", INPUT_NORMS)
def test_an_affine_input_norm_becomes_part_of_the_layer_behind_it(
    make_predictor, input_norm, hidden
):
    task = make_predictor(head={"input_norm": input_norm, "hidden_features": hidden}).task
    model = exported_model(task)
    assert model.head.input_norm is None
    assert compare(task, model).difference < 1e-4


def test_maxout_takes_an_input_norm_into_all_of_its_pieces(make_predictor):
    head = {"input_norm": "standardize", "hidden_features": [8], "activation": "maxout"}
    task = make_predictor(head=head).task
    model = exported_model(task)
    assert model.head.input_norm is None
    assert compare(task, model).difference < 1e-4


def test_an_input_norm_that_is_no_affine_map_stays(make_predictor):
    model = exported_model(make_predictor(head={"input_norm": "l2"}).task)
    assert type(model.head.input_norm).__name__ == "UnitLength"
    assert model.changes == []


def test_adapters_are_merged_in_the_export_alone(make_predictor):
    task = make_predictor(surgery=[{"add_lora": {"rank": 2}}]).task
    model = exported_model(task)
    assert not any("lora" in name for name in model.state_dict())
    assert any("lora" in name for name in task.state_dict())
    assert compare(task, model).difference < 1e-4


def test_batch_norms_of_backbone_and_head_are_folded_on_request(make_predictor):
    task = make_predictor(head={"hidden_features": [8], "norm": "batch"}).task
    model = exported_model(task, fold_norms=True)
    assert not any(
        isinstance(module, nn.modules.batchnorm._BatchNorm) for module in model.modules()
    )
    assert compare(task, model).difference < 1e-3


def test_folding_where_there_is_no_batch_norm_is_refused(make_predictor):
    with pytest.raises(ValueError, match=r"no batch norm below it.*Leave `fold_norms` out"):
        exported_model(make_predictor(name="test_vit").task, fold_norms=True)


def test_the_export_is_plain_where_training_was_compiled_and_recomputed(make_predictor):
    task = make_predictor(name="test_vit", grad_checkpointing=True).task
    task.backbone._compiled_call_impl = pytest.fail  # As if compiled, never called.
    model = exported_model(task)
    assert model.backbone._compiled_call_impl is None
    assert not model.backbone.model.grad_checkpointing


@pytest.mark.parametrize("head", [{}, {"hidden_features": [8]}])
def test_a_regression_can_give_numbers_in_the_units_of_its_target(make_predictor, head):
    task = make_predictor(objective="regression", head=head).task
    images = example_images(task)
    model = give_target_units_(exported_model(task), task)
    torch.testing.assert_close(model(images), task.predictions(task(images)))
    assert model(images).mean() > 20


def test_a_head_that_cannot_take_the_units_is_refused(make_predictor):
    task = make_predictor(objective="regression").task
    model = exported_model(task)
    model.head = nn.Sequential(model.head)
    with pytest.raises(ValueError, match="ends in no linear layer with a bias"):
        give_target_units_(model, task)


def test_other_logits_are_refused_with_the_difference(make_predictor):
    task = make_predictor().task
    model = exported_model(task)
    with torch.no_grad():
        model.head.output.bias[0] += 1
    with pytest.raises(ValueError, match=r"gives other outputs than the checkpoint: 1 at most"):
        check_agreement(compare(task, model), "It")


@pytest.fixture
def far_from_zero(make_predictor):
    """A regression of a target of 10,000 +- 1, and its export in these units."""
    task = make_predictor(objective="regression").task
    task.target_mean.fill_(1e4)
    task.target_std.fill_(1.0)
    return task, give_target_units_(exported_model(task), task)


def test_a_regression_far_from_zero_agrees_with_itself(far_from_zero):
    assert compare(*far_from_zero, in_units=True).agrees


def test_a_regression_far_from_zero_does_not_agree_with_another_one(far_from_zero):
    task, model = far_from_zero
    with torch.no_grad():
        model.head.output.bias += 0.5
    assert not compare(task, model, in_units=True).agrees


def test_logits_that_are_no_numbers_do_not_agree(make_predictor):
    task = make_predictor().task
    model = exported_model(task)
    nn.init.constant_(model.head.output.bias, torch.nan)
    assert not compare(task, model).agrees


def test_the_images_of_a_comparison_are_the_same_each_time(make_predictor):
    task = make_predictor(in_chans=1).task
    assert torch.equal(example_images(task), example_images(task))
    assert example_images(task).shape == (3, 1, 32, 32)
