"""Maxout: alive, and twice as large."""

import math

import pytest
import torch

from tltool.lecture.maxout_parameters import MaxoutParameters
from tltool.lecture.training import build_head, count_parameters, idle_share

TINY = MaxoutParameters(widths=(3, 4), depth=1, lrs=(0.01, 0.1), epochs=1, seeds=2)


@pytest.mark.parametrize("kind", ["relu", "wider relu", "maxout"])
def test_parameters_are_counted_as_torch_counts_them(blobs, kind):
    head = MaxoutParameters(pieces=3).head(blobs, kind, 5)
    parameters = build_head(head, blobs, seed=0).parameters()
    assert count_parameters(head, blobs) == sum(each.numel() for each in parameters)


def test_a_wider_relu_has_about_as_many_parameters_as_maxout(blobs):
    experiment = MaxoutParameters()
    wider, maxout = (
        count_parameters(experiment.head(blobs, kind, 32), blobs)
        for kind in ("wider relu", "maxout")
    )
    assert wider == pytest.approx(maxout, rel=0.03)


def test_maxout_with_the_weights_of_relu_computes_what_it_does(blobs):
    assert MaxoutParameters((6,), pieces=3).generalization_error(blobs) < 1e-5


def test_a_relu_that_is_never_on_is_idle(blobs):
    network = build_head({"hidden_features": [4]}, blobs, seed=0).requires_grad_(False)
    linear = network.first_linear
    linear.bias.fill_(1e3)
    linear.bias[2] = -(blobs.features @ linear.weight[2]).median()  # On for some rows.
    assert idle_share(network, blobs.features) == 0
    linear.bias[1] = -1e3
    assert idle_share(network, blobs.features) == 1 / 4


def test_a_piece_that_is_never_the_largest_is_idle(blobs):
    head = {"hidden_features": [4], "activation": {"name": "maxout", "k": 2}}
    network = build_head(head, blobs, seed=0)
    network.hidden[0].maxout.linear.bias.data[:] = torch.tensor([1e3, 1e3, 1e3, 0, 0, 0, 0, 0])
    network.hidden[0].maxout.linear.weight.data[3] = network.hidden[0].maxout.linear.weight.data[7]
    assert idle_share(network, blobs.features) == 3 / 8


def test_the_run_has_all_its_parts(blobs):
    finding = TINY.find(blobs)
    assert len(finding.rows) == 3 * 2 * 2 * 2
    assert "equal parameters" in finding.number
    assert len(finding.figure.axes) == 2


def test_nothing_to_compare_is_refused():
    with pytest.raises(ValueError, match="`widths` must be"):
        MaxoutParameters(widths=())


RIGHT = torch.ones(200)
WORSE = RIGHT.clone()
WORSE[::4] = 0
CORRECT = {"relu": WORSE, "maxout": RIGHT, "wider relu": RIGHT}


def rows(relu, pieces, *, growth=2.0, error=0.0, correct=CORRECT):
    """Rows of shares without a gradient by learning rate, and of what is right."""
    idle = {"relu": relu, "maxout": pieces, "wider relu": relu}
    parameters = {"relu": 100, "maxout": 100 * growth, "wider relu": 200}
    return [
        {"network": kind, "width": 4, "is_widest": True, "lr": lr, "is_best_lr": lr == 0}
        | {"without_gradient": share, "parameters": parameters[kind], "error": error}
        | {"correct": correct[kind]}
        for kind in ("relu", "maxout", "wider relu")
        for lr, share in enumerate(idle[kind])
        for _ in range(3)
    ]


@pytest.mark.parametrize(
    ("relu", "pieces", "growth", "verdict"),
    [
        ([0.0, 0.5], [0.0, 0.1], 2.0, "holds"),
        ([0.0, 0.0], [0.0, 0.0], 2.0, "holds"),
        ([0.0, 0.5], [0.0, 0.6], 2.0, "holds in part"),
        ([0.0, 0.5], [0.0, math.nan], 2.0, "holds in part"),
        ([0.0, 0.0], [0.0, 0.1], 2.0, "holds in part"),
        ([0.0, 0.01], [0.0, 0.01], 1.5, "holds"),
        ([0.0, 0.5], [0.0, 0.1], 1.2, "holds in part"),
    ],
)
def test_the_claim_is_judged_where_relus_die(relu, pieces, growth, verdict):
    assert TINY.judge(rows(relu, pieces, growth=growth)).verdict == verdict


def test_a_claim_without_a_true_statement_does_not_hold():
    judgement = TINY.judge(rows([0.5], [0.5], growth=1.0, error=1.0))
    assert judgement.verdict == "does not hold here"


def test_the_number_is_the_paired_difference():
    numbers = TINY.judge(rows([0.0], [0.0])).numbers
    assert numbers["equal_width"] == "+25.0 points (+- 6.2)"
    assert numbers["equal_size"] == "+0.0 points (+- 1.4)"
