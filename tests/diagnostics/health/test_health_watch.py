"""Hooks on the layers of a head."""

import pytest
import torch
from torch import nn

from tltool.diagnostics.health.health_watch import Watch
from tltool.diagnostics.health.unit_window import UnitWindow
from tltool.layers.activation_behavior import SaturatedRegion
from tltool.models.backbone import Backbone
from tltool.models.heads import Head
from tltool.surgery.adapters import add_lora


def step(head, watch, features, *, lr=0.1, is_sampled=True):
    """Make one step of gradient descent while a watch looks."""
    optimizer = torch.optim.SGD(head.parameters(), lr=lr)
    watch.begin_step(is_sampled=is_sampled)
    head.train()(features).square().sum().backward()
    watch.after_backward()
    optimizer.step()
    watch.end_step()
    optimizer.zero_grad()


@pytest.fixture
def features():
    return torch.randn(20, 6, generator=torch.Generator().manual_seed(0))


def test_layers_are_named_by_their_place():
    watch = Watch(Head(6, 2, hidden_features=[4, 4]), "head")
    assert [layer.name for layer in watch.layers] == [
        "head.hidden.0",
        "head.hidden.1",
        "head.output",
    ]


@pytest.mark.parametrize("activation", ["relu", "maxout", "prelu", "swish_beta", "selu"])
def test_every_hidden_layer_has_its_activation(activation, features):
    head = Head(6, 2, hidden_features=[4], activation=activation)
    watch = Watch(head, "head")
    step(head, watch, features)
    hidden, output = watch.close()[0]
    assert hidden.activation == activation
    assert hidden.units.num_rows == 20
    assert output.units is None


def test_units_with_a_large_negative_bias_are_dead(features):
    head = Head(6, 2, hidden_features=[4])
    with torch.no_grad():
        head.hidden[0].linear.bias[:3] = -100
    watch = Watch(head, "head")
    step(head, watch, features)
    assert watch.close()[0][0].units.dead == 0.75


@pytest.mark.parametrize("cls", [nn.Hardswish, nn.SiLU, nn.ELU, nn.Hardsigmoid, nn.ReLU6])
def test_units_of_an_activation_that_works_in_place_are_those_of_its_twin(cls, features):
    found = []
    for inplace in (False, True):
        torch.manual_seed(0)
        network = nn.Sequential(nn.Linear(6, 4), cls(inplace=inplace))
        nn.init.constant_(network[0].bias[:3].detach(), -20)
        watch = Watch(network, "backbone")
        watch.notes_live_units = True
        step(network, watch, features)
        [layer] = watch.close()[0]
        found.append((layer.units.dead, layer.units.saturated, watch.dead_in_epoch()))
    assert found[0] == found[1]
    assert found[0][0] == 0.75


def test_gradient_and_update_are_those_of_the_weights(features):
    head = Head(6, 2, hidden_features=[4])
    weight = head.output.weight
    before = weight.detach().clone()
    watch = Watch(head, "head")
    step(head, watch, features)
    health = watch.close()[0][-1]
    update = (weight.detach() - before).norm() / before.norm()
    assert health.update == pytest.approx(float(update), rel=1e-5)
    assert health.gradient == pytest.approx(
        float((weight.detach() - before).norm() / 0.1), rel=1e-4
    )


@pytest.mark.parametrize(
    ("initializer", "expected"), [("zeros", [True, False]), ("auto", [False] * 2)]
)
def test_an_output_layer_that_began_at_zero_is_short_until_it_has_grown(
    initializer, expected, features
):
    head = Head(6, 2, hidden_features=[4], output_initializer=initializer)
    watch, found = Watch(head, "head"), []
    for _ in range(2):
        step(head, watch, features)
        found.append(watch.close()[0][-1].is_short)
        nn.init.ones_(head.output.weight)
    assert found == expected


def test_steps_that_turn_back_have_a_negative_cosine():
    head = Head(1, 2, hidden_features=[])
    watch = Watch(head, "head")
    ones = torch.ones(4, 1)
    # The curvature along the weight is 2 * 4, and a rate above 1 over it overshoots each time.
    for _ in range(2):
        step(head, watch, ones, lr=0.2 / 2)
    health = watch.close()[0][0]
    assert health.update_cosine == pytest.approx(-1)
    assert health.gradient_along_mean == pytest.approx(1)


def test_steps_that_are_not_sampled_leave_no_trace(features):
    head = Head(6, 2, hidden_features=[4])
    watch = Watch(head, "head")
    step(head, watch, features, is_sampled=False)
    assert not any(health.is_seen for health in watch.close()[0])


def test_evaluation_leaves_no_trace(features):
    head = Head(6, 2, hidden_features=[4])
    watch = Watch(head, "head")
    watch.begin_step(is_sampled=True)
    head.eval()(features)
    assert watch.close()[0][0].units is None


def test_live_units_are_noted_on_every_step(features):
    head = Head(6, 2, hidden_features=[4])
    watch = Watch(head, "head")
    watch.notes_live_units = True
    with torch.no_grad():
        head.hidden[0].linear.bias[:] = torch.tensor([-100.0, -100, 100, 100])
    step(head, watch, features, is_sampled=False, lr=0)
    assert watch.dead_in_epoch() == {"head.hidden.0": 0.5}
    assert watch.dead_in_epoch() == {}


def test_a_removed_watch_leaves_no_hook():
    head = Head(6, 2, hidden_features=[4], norm="batch")
    Watch(head, "head").remove()
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in head.modules())


def test_a_batch_norm_of_new_statistics_lags(features):
    head = Head(6, 2, hidden_features=[4], norm={"name": "batch", "momentum": 0.001})
    watch = Watch(head, "head")
    step(head, watch, 50 + 10 * features)
    (norm,) = watch.close()[1]
    assert norm.factor > 3 or norm.shift > 1


def test_channels_of_a_convolution_are_its_units():
    network = nn.Sequential(nn.Conv2d(3, 5, 3), nn.ReLU())
    watch = Watch(network, "backbone")
    watch.begin_step(is_sampled=True)
    network(torch.randn(2, 3, 6, 6)).sum().backward()
    watch.after_backward()
    (health,) = watch.close()[0]
    assert (health.layer, health.units.num_rows) == ("backbone.0", 2 * 4 * 4)


@pytest.mark.parametrize(("cls", "expected"), [(nn.ReLU6, False), (nn.Hardtanh, True)])
def test_an_activation_that_is_off_below_zero_does_not_saturate_on_both_sides(cls, expected):
    watch = Watch(nn.Sequential(nn.Linear(6, 4), cls()), "backbone")
    assert watch.layers[0].is_two_sided is expected


def test_rows_of_two_ranks_are_summed():
    one, other = (UnitWindow(SaturatedRegion(below=0.0)) for _ in range(2))
    one.add(torch.tensor([[1.0, -1.0]]), torch.tensor([[1.0, 0.0]]))
    other.add(torch.tensor([[-1.0, -1.0]]), torch.tensor([[0.0, 0.0]]))
    sums = iter([other._live.float(), torch.tensor([1.0]), other._sums])
    health = one.close(lambda tensor: tensor + next(sums))
    assert (health.num_rows, health.dead, health.saturated, health.mean) == (2, 0.5, 0.75, 0.25)


@pytest.mark.parametrize("sizes", [(32, 1), (1,) * 20, (2,) * 10])
def test_small_batches_are_no_collapsed_layer(sizes):
    units = UnitWindow(SaturatedRegion(below=0.0))
    rows = torch.randn(sum(sizes), 6, generator=torch.Generator().manual_seed(0))
    for batch in rows.split(sizes):
        units.add(batch, batch.relu())
    assert units.close().effective_rank > 0.5


def test_a_unit_that_was_live_on_any_rank_is_not_dead():
    live = UnitWindow(SaturatedRegion(below=0.0))
    live.note_live(torch.tensor([[1.0, -1.0, -1.0]]))
    assert live.close_epoch(lambda tensor: tensor + torch.tensor([0.0, 1, 0])) == pytest.approx(
        1 / 3
    )


def test_ranks_sum_numbers_that_every_device_has():
    units = UnitWindow(SaturatedRegion(below=0.0))
    units.add(torch.ones(2, 3), torch.ones(2, 3))
    units.note_live(torch.ones(2, 3))
    types = []
    units.close(lambda tensor: types.append(tensor.dtype) or tensor)
    units.close_epoch(lambda tensor: types.append(tensor.dtype) or tensor)
    assert set(types) == {torch.float32}


@pytest.mark.parametrize(
    "name", ["test_resnet", "test_efficientnet", "test_vit", "test_convnext", "test_mambaout"]
)
def test_each_kind_of_backbone_is_watched(name):
    backbone = Backbone(name, weights="random", img_size=32)
    watch = Watch(backbone, "backbone")
    step(backbone, watch, torch.randn(4, 3, 32, 32))
    layers, _ = watch.close()
    assert len(layers) > 3
    assert all(layer.gradient is not None for layer in layers)
    assert any(layer.units is not None for layer in layers)


def test_units_of_a_linear_layer_on_images_are_the_last_dimension():
    network = nn.Sequential(nn.Linear(3, 5), nn.ReLU())  # As in Swin: (B, H, W, U).
    nn.init.constant_(network[0].bias[:2].detach(), -100)
    watch = Watch(network, "backbone")
    step(network, watch, torch.randn(2, 4, 4, 3))
    [layer] = watch.close()[0]
    assert layer.units.num_rows == 32
    assert layer.units.dead == pytest.approx(2 / 5)


def test_an_activation_that_layers_share_is_that_of_the_first():
    relu = nn.ReLU()
    network = nn.Sequential(nn.Linear(3, 4), relu, nn.Linear(4, 6), relu)
    watch = Watch(network, "head")
    watch.notes_live_units = True
    step(network, watch, torch.randn(8, 3))
    first, second = watch.close()[0]
    assert first.units.num_rows == 8
    assert second.units is None


def test_of_a_weight_with_an_adapter_the_update_is_seen_and_no_gradient(features):
    network = nn.Sequential(nn.Linear(6, 8), nn.Linear(8, 4))
    add_lora(network, 2, only="1")
    nn.init.normal_(network[1].lora_b)
    watch = Watch(network, "backbone")
    step(network, watch, features)
    plain, adapted = watch.close()[0]
    assert plain.gradient > 0
    assert adapted.gradient is None
    assert adapted.update > 0
