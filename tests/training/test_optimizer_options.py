"""Options of an optimizer that have changed survive the loading of its state."""

import pytest
import torch
from torch import nn

from tltool.training.optimizer_options import keep_changed_options_, optimizer_config


def trained(make, **options):
    """Return an optimizer that has made a step, as in a checkpoint."""
    layer = nn.Linear(2, 2)
    groups = [
        {"params": [layer.weight], "name": "decayed"},
        {"params": [layer.bias], "name": "bias", "weight_decay": 0.0},
    ]
    optimizer = make(groups, **options)
    layer(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    return optimizer


def load(before, make, **options):
    optimizer = keep_changed_options_(trained(make, **options), lambda: optimizer_config(before))
    optimizer.load_state_dict(before.state_dict())
    return optimizer


@pytest.mark.parametrize(
    ("name", "value"),
    [("lr", 0.5), ("betas", (0.5, 0.6)), ("eps", 1e-3), ("weight_decay", 0.3), ("amsgrad", True)],
)
def test_a_changed_option_is_that_of_the_configuration(name, value):
    optimizer = load(trained(torch.optim.AdamW), torch.optim.AdamW, **{name: value})
    assert optimizer.param_groups[0][name] == value


def test_a_changed_lr_changes_that_which_the_phases_multiply():
    before = trained(torch.optim.SGD, lr=0.1)
    for group in before.param_groups:
        group |= {"initial_lr": 0.1, "lr": 0.001}
    after = trained(torch.optim.SGD, lr=0.7)
    for group in after.param_groups:
        group["initial_lr"] = 0.7
    keep_changed_options_(after, lambda: optimizer_config(before))
    after.load_state_dict(before.state_dict())
    assert {group["initial_lr"] for group in after.param_groups} == {0.7}


def test_a_group_without_weight_decay_keeps_none():
    optimizer = load(trained(torch.optim.AdamW), torch.optim.AdamW, weight_decay=0.3)
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.3, 0.0]


def test_what_has_not_changed_is_loaded():
    before = trained(torch.optim.SGD, lr=0.1)
    before.param_groups[0]["lr"] = 0.025
    optimizer = load(before, torch.optim.SGD, lr=0.1, momentum=0.9)
    assert (optimizer.param_groups[0]["lr"], optimizer.param_groups[0]["momentum"]) == (0.025, 0.9)


def test_the_state_is_loaded():
    before = trained(torch.optim.AdamW)
    optimizer = load(before, torch.optim.AdamW, lr=0.5)
    expected = before.state_dict()["state"][0]["exp_avg"]
    torch.testing.assert_close(optimizer.state_dict()["state"][0]["exp_avg"], expected)


def test_the_state_of_another_class_is_refused():
    with pytest.raises(ValueError, match=r"optimizer.class_path was 'torch.optim.adamw.AdamW' and"):
        load(trained(torch.optim.AdamW), torch.optim.SGD, lr=0.1, momentum=0.9)


def test_other_parameter_groups_are_refused():
    before = trained(torch.optim.SGD, lr=0.1)
    after = torch.optim.SGD(nn.Linear(2, 2).parameters(), lr=0.1)
    keep_changed_options_(after, lambda: optimizer_config(before))
    with pytest.raises(ValueError, match="2 parameter groups and this run 1"):
        after.load_state_dict(before.state_dict())
