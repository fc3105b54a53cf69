import pytest
import torch

from tltool.comparison.optimizers import OPTIMIZERS, StackedOptimizer, base_lr

LRS = [1e-3, 3e-2]


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_each_slice_goes_as_by_the_optimizer_alone(name):
    torch.manual_seed(0)
    start, target = torch.randn(2, 4, 3), torch.randn(2, 4, 3)
    stacked = start.clone().requires_grad_()
    alone = [start[i].clone().requires_grad_() for i in range(2)]
    together = StackedOptimizer({"name": name, "weight_decay": 0.1}, [stacked], LRS)
    options = dict(OPTIMIZERS[name].defaults) | {"weight_decay": 0.1}
    singles = [
        OPTIMIZERS[name].factory([p], lr=r, **options) for p, r in zip(alone, LRS, strict=True)
    ]
    for _ in range(12):
        (stacked - target).square().sum().backward()
        together.step()
        for parameter, optimizer, goal in zip(alone, singles, target, strict=True):
            optimizer.zero_grad()
            (parameter - goal).square().sum().backward()
            optimizer.step()
    torch.testing.assert_close(stacked, torch.stack(alone), rtol=1e-5, atol=1e-5)


def test_biases_get_no_weight_decay():
    bias = torch.ones(2, 4, requires_grad=True)
    optimizer = StackedOptimizer({"name": "AdamW", "weight_decay": 0.5}, [bias], [0.1, 0.1])
    bias.grad = torch.zeros_like(bias)
    optimizer.step()
    assert (bias == 1).all()


def test_an_optimizer_that_cannot_train_a_stack_is_refused_with_those_that_can():
    with pytest.raises(ValueError, match=r"Choose one of: .*AdamW"):
        base_lr("LBFGS")


def test_an_unknown_argument_of_an_optimizer_is_refused():
    with pytest.raises(ValueError, match="momentun"):
        base_lr({"name": "SGD", "momentun": 0.9})


def test_an_argument_is_checked_beside_those_that_are_usual():
    assert base_lr({"name": "SGD", "nesterov": True}) == OPTIMIZERS["SGD"].lr


@pytest.mark.parametrize("option", ["foreach", "differentiable"])
def test_arguments_that_torch_does_not_take_together_are_refused(option):
    with pytest.raises(ValueError, match=r"AdamW cannot be made of .*`fused`"):
        base_lr({"name": "AdamW", option: True, "fused": True})


def test_a_step_that_the_user_chooses_takes_the_place_of_the_fused_one():
    weight = torch.ones(2, 1, 1, requires_grad=True)
    optimizer = StackedOptimizer({"name": "AdamW", "foreach": True}, [weight], LRS)
    weight.sum().backward()
    optimizer.step()
    defaults = optimizer.optimizer.defaults
    assert (defaults["foreach"], defaults["fused"], bool((weight < 1).all())) == (True, None, True)
