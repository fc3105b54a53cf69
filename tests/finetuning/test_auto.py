"""What the strategy Auto chooses, by the facts."""

import dataclasses

import pytest

from tltool.finetuning.durations import parse_duration
from tltool.finetuning.strategies import LPFT, Auto, FullFinetuning, LastBlocks, LinearProbe
from tltool.finetuning.strategies.auto import TrainingFacts, count_last_groups

SHARES = {"backbone.stem": 0.3, "backbone.layer1": 0.3, "backbone.layer2": 0.25, "backbone.x": 0.15}
FACTS = TrainingFacts(
    num_images=500,
    num_classes=2,
    forward_shares=SHARES,
    has_batch_norm=True,
    is_pretrained=True,
    on_gpu=False,
    max_epochs=10,
)


def chosen(**changes):
    return Auto().choose(dataclasses.replace(FACTS, **changes))[0]


def test_on_a_cpu_the_last_groups_train():
    assert chosen() == LastBlocks(2, backbone_lr_scale=0.5)
    assert chosen(num_images=50_000) == LastBlocks(2, backbone_lr_scale=0.5)


def test_the_reason_promises_no_activations_for_not_every_network_can_be_cut():
    reason = Auto().choose(FACTS)[1]
    assert reason.endswith("; the last groups take 40% of a forward pass")


def test_on_a_gpu_everything_trains_on_many_images_alone():
    assert chosen(on_gpu=True) == LastBlocks(2, backbone_lr_scale=0.5)
    assert chosen(on_gpu=True, num_images=5000) == LPFT(probe_epochs=1)


def test_one_epoch_has_no_room_for_a_probe_in_front():
    one_epoch = chosen(on_gpu=True, num_images=5000, max_epochs=1)
    assert one_epoch == LastBlocks(2, backbone_lr_scale=0.5)


def test_with_few_images_of_a_class_the_head_trains_alone():
    assert chosen(num_images=8) == LinearProbe()
    assert chosen(num_images=500, num_classes=200) == LinearProbe()


def test_without_layers_the_head_trains_alone():
    assert chosen(forward_shares={}) == LinearProbe()


def test_random_weights_train_with_batch_norms_in_training():
    assert chosen(is_pretrained=False) == FullFinetuning(batch_norm="train")


def test_without_batch_norms_the_backbone_has_a_smaller_lr():
    assert chosen(has_batch_norm=False).backbone_lr_scale < 0.3
    assert chosen(has_batch_norm=False, on_gpu=True, num_images=5000).backbone_lr_scale < 0.3


def test_the_last_groups_take_at_most_their_share():
    assert count_last_groups(SHARES) == (2, pytest.approx(0.4))


def test_one_group_trains_however_much_it_takes():
    assert count_last_groups({"backbone.a": 0.1, "backbone.b": 0.9}) == (1, 0.9)


def test_a_final_norm_is_not_counted():
    shares = {"backbone.a": 0.7, "backbone.b": 0.3, "backbone.norm": 0.0}
    assert count_last_groups(shares) == (1, 0.3)
    groups = [*shares, "head"]
    trained = LastBlocks(1).schedule(groups, 1).phases[0].trains
    assert trained == ("backbone.b", "backbone.norm", "head")


def test_it_has_no_schedule_of_its_own():
    with pytest.raises(ValueError, match="choose first: strategy, why"):
        Auto().resolved_schedule([*SHARES, "head"], 10)


@pytest.mark.parametrize("text", ["", "10", "m", "0s", "10 m", "-5m", "1d"])
def test_what_is_no_duration_is_refused(text):
    with pytest.raises(ValueError, match="Write 10m, 90s or 1h30m"):
        parse_duration(text)
