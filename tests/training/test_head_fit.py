"""A head with hidden layers is trained on the features before the backbone trains."""

import pytest
import torch

from tests.training.test_head_start import make_data
from tltool.models.heads import Head
from tltool.training.head_fit import fit_head_


def accuracy(head, features, labels):
    return (head.eval()(features).argmax(dim=1) == labels).double().mean().item()


@pytest.mark.parametrize("options", [{}, {"norm": "batch"}, {"dropout": 0.5}], ids=str)
def test_it_learns_the_features(options):
    features, labels = make_data(600, noise=1.0)
    head = Head(20, 3, hidden_features=[32], **options)
    fit_head_(head, features[:400], labels[:400])
    assert accuracy(head, features[400:], labels[400:]) > 0.9


def test_it_is_the_same_each_time_and_draws_from_no_other_seed():
    features, labels = make_data(200)
    heads = [Head(20, 3, hidden_features=[8], dropout=0.5) for _ in range(2)]
    heads[1].load_state_dict(heads[0].state_dict())
    states = []
    for seed, head in enumerate(heads):
        torch.manual_seed(seed)
        state = torch.get_rng_state()
        fit_head_(head, features, labels)
        states.append(torch.equal(torch.get_rng_state(), state))
    assert states == [True, True]
    assert torch.equal(heads[0].output.weight, heads[1].output.weight)


def test_the_mode_stays_and_no_gradient_is_left():
    features, labels = make_data(100)
    head = Head(20, 3, hidden_features=[8], dropout=0.5).eval()
    fit_head_(head, features, labels)
    assert not any(module.training for module in head.modules())
    assert all(parameter.grad is None for parameter in head.parameters())


def test_class_weights_count():
    features, labels = make_data(300, noise=6.0)
    plain, weighted = (Head(20, 3, hidden_features=[16]) for _ in range(2))
    weighted.load_state_dict(plain.state_dict())
    fit_head_(plain, features, labels)
    fit_head_(weighted, features, labels, class_weights=torch.tensor([9.0, 1.0, 1.0]))
    shares = [(head(features).argmax(dim=1) == 0).double().mean() for head in (plain, weighted)]
    assert shares[1] > shares[0]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64], ids=str)
def test_a_head_of_another_precision_learns_as_one_of_float32(dtype):
    labels = torch.arange(60) % 3
    features = torch.eye(3)[labels] + 0.1 * torch.randn(60, 3)
    head = Head(3, 3, hidden_features=[8], norm="batch").to(dtype)
    fit_head_(head, features, labels)
    assert {tensor.dtype for tensor in head.parameters()} == {dtype}
    assert torch.equal(head.eval()(features.to(dtype)).argmax(dim=1), labels)
