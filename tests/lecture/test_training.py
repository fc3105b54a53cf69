"""Networks of an experiment."""

import math

import pytest
import torch

from tltool.comparison.training_settings import Recipe
from tltool.lecture.training import (
    Trial,
    build_head,
    epochs_to,
    gradient_norms,
    hidden_outputs,
    train_trials,
    tune,
)

SMALL = {"hidden_features": [8]}
SHORT = Recipe(epochs=2, warmup=0.0, decay="none")


def test_a_seed_decides_the_weights_and_nothing_else(blobs):
    state = torch.get_rng_state()
    first, second = (build_head(SMALL, blobs, seed=1) for _ in range(2))
    assert torch.equal(first.output.weight, second.output.weight)
    assert torch.equal(torch.get_rng_state(), state)


def test_trials_come_back_in_their_order(blobs):
    trials = [
        Trial(SMALL, 0, 0.1),
        Trial({"hidden_features": [4, 4]}, 0, 0.1),
        Trial(SMALL, 1, 0.1),
        Trial(SMALL, 0, 0.0),
    ]
    shapes = [len(run.state) for run in train_trials(blobs, trials, recipe=SHORT)]
    assert shapes == [4, 6, 4, 4]


def test_a_trial_with_rate_zero_learns_nothing(blobs):
    (run,) = train_trials(blobs, [Trial(SMALL, 3, 0.0)], recipe=SHORT)
    assert torch.equal(run.state["output.weight"], build_head(SMALL, blobs, seed=3).output.weight)


def test_a_network_chooses_the_rate_with_the_least_cost(blobs):
    tuned = tune(
        blobs,
        {"small": SMALL},
        rates=(1e-4, 0.1, 1e9),
        seeds=2,
        recipe=SHORT,
        cost=lambda run: run.train_losses[-1],
    )["small"]
    assert tuned.rate == 0.1
    assert not tuned.at_edge
    assert len(tuned.runs) == 2


@pytest.mark.parametrize(
    ("target", "losses", "epochs"),
    [(1.0, [3.0, 2.0, 0.0], 2.5), (2.0, [2.0, 1.0], 1.0), (0.5, [2.0, math.nan], math.inf)],
)
def test_epochs_are_counted_between_epochs(target, losses, epochs):
    assert epochs_to(target, losses) == epochs


def test_gradient_norms_are_those_of_autograd(blobs):
    head = build_head(SMALL, blobs, seed=0)
    features, labels = blobs.train
    norms = gradient_norms(head, features, labels)
    loss = torch.nn.functional.cross_entropy(head(features), labels)
    weights = [head.hidden[0].linear.weight, head.output.weight]
    expected = [float(grad.norm()) for grad in torch.autograd.grad(loss, weights)]
    assert norms == pytest.approx(expected)


def test_hidden_outputs_are_those_behind_the_activation(blobs):
    head = build_head({"hidden_features": [8, 4]}, blobs, seed=0)
    outputs = hidden_outputs(head, blobs.features)
    assert [output.shape for output in outputs] == [(150, 8), (150, 4)]
    assert torch.equal(outputs[0], head.hidden[0](blobs.features))


def test_a_network_can_be_changed_before_it_starts(blobs):
    (run,) = train_trials(
        blobs,
        [Trial(SMALL, 0, 0.0)],
        recipe=SHORT,
        start=lambda network: torch.nn.init.ones_(network.output.weight),
    )
    assert run.state["output.weight"].eq(1).all()
