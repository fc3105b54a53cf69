"""Networks of an experiment."""

import torch

from tltool.comparison.training_settings import TrainingSettings
from tltool.lecture.training import (
    build_head,
    choose_lrs,
    mark_best_lrs,
    train_grid,
)

SMALL = {"hidden_features": [8]}
SHORT = TrainingSettings(epochs=2, warmup=0.0, decay="none")


def test_a_seed_decides_the_weights_and_nothing_else(blobs):
    state = torch.get_rng_state()
    first, second = (build_head(SMALL, blobs, seed=1) for _ in range(2))
    assert torch.equal(first.output.weight, second.output.weight)
    assert torch.equal(torch.get_rng_state(), state)


def train(problem, *heads, lrs=(0.1,), seeds=1, **options):
    return train_grid(problem, [{"head": each} for each in heads], lrs, seeds, SHORT, **options)


def test_rows_come_in_the_order_of_networks_lrs_and_seeds(blobs):
    rows = train(blobs, SMALL, {"hidden_features": [4, 4]}, SMALL, lrs=(0.1, 0.0), seeds=2)
    assert [len(row["run"].state) for row in rows] == [4] * 4 + [6] * 4 + [4] * 4
    assert [(row["lr"], row["seed"]) for row in rows[:4]] == [(0.1, 0), (0.1, 1), (0, 0), (0, 1)]


def test_a_network_with_lr_zero_learns_nothing(blobs):
    (row,) = train(blobs, SMALL, lrs=(0.0,), seeds=range(3, 4))
    expected = build_head(SMALL, blobs, seed=3).output.weight
    assert torch.equal(row["run"].state["output.weight"], expected)


def test_a_network_chooses_the_lr_with_the_least_cost(blobs):
    rows = train(blobs, SMALL, lrs=(1e-4, 0.1, 1e9), seeds=2)
    chosen = choose_lrs(rows, lambda run: run.train_losses[-1])
    assert [row["lr"] for row in chosen] == [0.1, 0.1]
    assert not any(row["lr_at_edge"] for row in chosen)


def test_a_best_lr_at_the_edge_of_several_is_marked(blobs):
    edge = [
        {row["lr_at_edge"] for row in mark_best_lrs(train(blobs, SMALL, lrs=lrs))}
        for lrs in ((1e-4, 0.1), (0.1,))
    ]
    assert edge == [{True}, {False}]


def test_a_network_can_be_changed_before_it_starts(blobs):
    def start(network):
        torch.nn.init.ones_(network.output.weight)

    (row,) = train(blobs, SMALL, lrs=(0.0,), start=start)
    assert row["run"].state["output.weight"].eq(1).all()
