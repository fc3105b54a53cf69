"""Heads that train together come out as if each had trained alone, by the usual means."""

from dataclasses import replace

import pytest
import torch
from torch.nn import functional

from tltool.comparison.cross_validation import SplitRows
from tltool.comparison.head_stack import HeadStack, train_head_stack
from tltool.comparison.training_settings import TrainingSettings
from tltool.models.heads import Head
from tltool.models.label_loss import label_loss

ROWS = torch.arange(90)
SPLIT = SplitRows(ROWS[:50], ROWS[50:70], ROWS[70:], seeds=(0,))
SETTINGS = TrainingSettings(epochs=3, batch_size=8)
LRS = [1e-3, 3e-3, 1e-2]


def make_heads(**options):
    heads = []
    for seed in range(3):
        torch.manual_seed(seed)
        heads.append(Head(8, 3, hidden_features=[16], **options))
    return heads


def largest_difference(first, second):
    assert first.keys() == second.keys()
    return max(float((first[k].double() - second[k].double()).abs().max()) for k in first)


def train_by_hand(head, features, labels, seed, lr):
    """Train as any loop of PyTorch does, with the decay of parameters as in `fit`."""
    decayed = [p for p in head.parameters() if p.ndim > 1]
    others = {"params": [p for p in head.parameters() if p.ndim <= 1], "weight_decay": 0.0}
    optimizer = torch.optim.AdamW([{"params": decayed}, others], lr=lr, weight_decay=0.05)
    head.train()
    for epoch in range(SETTINGS.epochs):
        order = SETTINGS.order(labels[SPLIT.train], seed, epoch)
        batches = SPLIT.train[order].split(SETTINGS.batch_size)
        for step, rows in enumerate(batches):
            progress = (epoch + step / len(batches)) / SETTINGS.epochs
            for group in optimizer.param_groups:
                group["lr"] = lr * SETTINGS.phase.lr_factor(progress)
            optimizer.zero_grad()
            functional.cross_entropy(head(features[rows]), labels[rows]).backward()
            optimizer.step()
    return head.eval()


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"norm": "batch"},
        {"norm": "layer", "activation": "gelu"},
        {"activation": "prelu"},
        {"activation": "maxout"},
        {"input_norm": "batch"},
        {"norm": "group", "norm_position": "after", "activation": "mish"},
    ],
    ids=str,
)
def test_heads_trained_together_equal_heads_trained_alone(clouds, options):
    together = train_head_stack(make_heads(**options), *clouds, SPLIT, lrs=LRS, seeds=[0, 1, 2])
    alone = [
        train_head_stack([head], *clouds, SPLIT, lrs=[LRS[i]], seeds=[i])[0]
        for i, head in enumerate(make_heads(**options))
    ]
    for first, second in zip(together, alone, strict=True):
        assert largest_difference(first.state, second.state) < 1e-5


@pytest.mark.parametrize("options", [{}, {"norm": "batch"}, {"activation": "prelu"}], ids=str)
def test_heads_trained_together_equal_those_of_a_plain_loop(clouds, options):
    heads = make_heads(**options)
    together = train_head_stack(heads, *clouds, SPLIT, lrs=LRS, seeds=[0, 1, 2], settings=SETTINGS)
    for seed, head in enumerate(heads):
        by_hand = train_by_hand(head, *clouds, seed, LRS[seed])
        assert largest_difference(together[seed].state, by_hand.state_dict()) < 1e-5


def test_a_head_that_explodes_leaves_its_neighbors_alone(clouds):
    lrs = [1e-3, 1e-3, 1e30]
    seeds = [0, 1, 2]
    wild = train_head_stack(make_heads(), *clouds, SPLIT, lrs=lrs, seeds=seeds, optimizer="SGD")
    alone = train_head_stack(
        make_heads()[:2], *clouds, SPLIT, lrs=lrs[:2], seeds=seeds[:2], optimizer="SGD"
    )
    assert largest_difference(wild[1].state, alone[1].state) < 1e-5
    assert not torch.isfinite(torch.tensor(wild[2].train_losses)).all()


def test_running_statistics_are_those_of_each_head(clouds):
    heads = make_heads(norm="batch")
    stack = HeadStack(heads)
    stack.train()
    stack(clouds[0])
    heads[1].train()(clouds[0])
    assert largest_difference(stack.state(1), heads[1].state_dict()) < 1e-6
    assert largest_difference(stack.state(1), stack.state(2)) > 1e-3


def test_the_last_batch_may_hold_one_image(clouds):
    split = SplitRows(ROWS[:49], ROWS[50:70], ROWS[70:], seeds=(0,))
    (trained,) = train_head_stack(
        make_heads(norm="batch")[:1], *clouds, split, lrs=[1e-3], seeds=[0], settings=SETTINGS
    )
    assert torch.isfinite(torch.tensor(trained.val_losses)).all()


def test_dropout_is_decided_by_the_seed(clouds):
    def weights():
        torch.rand(3)  # What was drawn before does not matter.
        heads = make_heads(dropout=0.5)
        return train_head_stack(heads, *clouds, SPLIT, lrs=LRS, seeds=[0, 1, 2])[0].state

    assert largest_difference(weights(), weights()) == 0


def test_the_caller_s_random_numbers_are_left_alone(clouds):
    heads = make_heads(dropout=0.5)
    torch.manual_seed(7)
    expected = torch.rand(1)
    torch.manual_seed(7)
    train_head_stack(heads, *clouds, SPLIT, lrs=LRS, seeds=[0, 1, 2])
    assert torch.rand(1) == expected


def test_losses_are_those_of_the_task(clouds):
    labels = torch.tensor([[0, 1, 1, 2]])
    logits = torch.randn(1, 4, 3)
    settings = TrainingSettings(label_smoothing=0.1, class_weights=[1.0, 2.0, 4.0])
    weights = torch.tensor([1.0, 2.0, 4.0])
    expected = label_loss(logits[0], labels[0], class_weights=weights, label_smoothing=0.1)
    torch.testing.assert_close(settings.losses(logits, labels)[0], expected)


def test_heads_train_on_the_balanced_draws_of_an_epoch():
    labels = torch.tensor([0] * 30 + [1] * 10)
    order = replace(SETTINGS, sampling="class_balanced").order(labels, 0, 0)
    assert labels[order].bincount().tolist() == [20, 20]
    assert set(order.tolist()) >= set(range(30, 40))
