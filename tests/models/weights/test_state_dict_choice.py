import logging

import pytest
import torch

from tltool.models.weights.state_dict_choice import choose_state_dict

LIKE = {"conv.weight": torch.zeros(4, 3), "conv.bias": torch.zeros(4), "norm.bias": torch.zeros(4)}


def weights(value=1.0, prefix="", **more):
    tensors = {f"{prefix}{name}": torch.full_like(like, value) for name, like in LIKE.items()}
    return tensors | more


def chosen_value(content, key=None):
    """Return the value that all tensors of the chosen weights have."""
    chosen = choose_state_dict(content, "a.pth", LIKE, key)
    (value,) = {float(number) for name in LIKE for number in chosen[name].flatten()}
    assert set(chosen) == set(LIKE)
    return value


PREFIXES = [
    *("", "module.", "_orig_mod.", "model.", "backbone.", "encoder.", "net.", "teacher."),
    *("_orig_mod.module.", "module._orig_mod.", "module.module.", "module.model.module."),
    *("model._orig_mod.", "student.backbone.", "my_own_name.", "model.0.", "module.encoder_q."),
]


@pytest.mark.parametrize("prefix", PREFIXES)
def test_any_prefix_is_found(prefix):
    assert chosen_value(weights(1.0, prefix)) == 1


CONTAINERS = ["state_dict", "model", "model_state_dict", "net", "weights", "params", "my_own_key"]


@pytest.mark.parametrize("key", CONTAINERS)
def test_any_container_is_found(key):
    assert chosen_value({"epoch": 3, key: weights(1.0, "module."), "optimizer": {"lr": 0.1}}) == 1


def test_containers_in_containers_are_found():
    assert chosen_value({"model": {"state_dict": weights(), "epoch": 3}}) == 1


def test_parts_in_containers_of_their_own_are_found():
    head = {"weight": torch.ones(2, 4), "bias": torch.ones(2)}
    assert chosen_value({"backbone": weights(), "head": head}) == 1


def test_wrappers_between_layers_are_left_out():
    wrapped = {name.replace(".", "._orig_mod.module."): v for name, v in weights().items()}
    assert chosen_value(wrapped) == 1


@pytest.mark.parametrize("prefix", ["", "module."])
def test_a_name_that_the_model_has_itself_is_no_wrapper(prefix):
    like = {"module.0.weight": torch.zeros(2), "module.1.weight": torch.zeros(2)}
    stored = {f"{prefix}{name}": torch.ones(2) for name in like}
    assert list(choose_state_dict(stored, "a.pth", like)) == list(like)


def test_the_states_of_an_optimizer_are_no_weights():
    states = {number: {"exp_avg": torch.zeros(4)} for number in range(50)}
    assert chosen_value({"optimizer": {"state": states}, "model": weights()}) == 1


AVERAGES = ["state_dict_ema", "model_ema", "ema", "EMA", "ema_state_dict"]


@pytest.mark.parametrize("name", AVERAGES)
def test_the_average_is_taken_and_said(name, caplog):
    with caplog.at_level(logging.INFO):
        assert chosen_value({"state_dict": weights(1.0), name: weights(2.0)}) == 2
    assert f"several sets of weights: 'state_dict', '{name}'. Taken: '{name}'" in caplog.text


def test_an_average_beside_the_weights_in_one_state_dict_is_taken():
    assert chosen_value(weights(1.0, "model.") | weights(2.0, "model_ema.module.")) == 2


def test_the_weights_that_lightning_averages_are_not_taken():
    content = {"state_dict": weights(2.0), "current_model_state": weights(1.0)}
    assert chosen_value(content) == 2


def test_the_weights_beside_the_average_can_be_chosen():
    content = {"state_dict": weights(1.0, "module."), "state_dict_ema": weights(2.0, "module.")}
    assert chosen_value(content, key="state_dict") == 1


def test_student_and_teacher_must_be_chosen():
    content = {"student": weights(1.0, "module."), "teacher": weights(2.0)}
    with pytest.raises(
        ValueError, match=r"fit equally well: 'student', 'teacher'\. Set `weights_key`"
    ):
        chosen_value(content)
    assert chosen_value(content, key="teacher") == 2


def test_weights_without_a_prefix_can_be_chosen():
    assert chosen_value(weights(1.0) | weights(2.0, "other."), key="") == 1


def test_the_same_weights_twice_are_no_choice(caplog):
    assert chosen_value(weights(1.0, "encoder.") | weights(1.0, "model.encoder.")) == 1


def test_a_larger_network_of_the_same_names_is_not_taken():
    larger = {name: torch.ones(*value.shape, 2) for name, value in LIKE.items()}
    assert chosen_value({"teacher": larger, "student": weights(1.0)}) == 1


def test_an_unknown_key_lists_those_that_there_are():
    content = {"state_dict": weights(1.0), "state_dict_ema": weights(2.0)}
    with pytest.raises(ValueError, match="may be: 'state_dict', 'state_dict_ema'"):
        chosen_value(content, key="ema")


def test_what_lies_beside_the_backbone_is_said(caplog):
    head = {"head.weight": torch.ones(2, 4), "criterion.weight": torch.ones(2)}
    with caplog.at_level(logging.INFO):
        chosen_value({"state_dict": weights(1.0, "model.") | head})
    assert "Left what is beside the weights in a.pth: head.weight, criterion.weight." in caplog.text


def test_names_of_the_authors_lose_the_usual_prefixes_alone():
    stored = {f"module.model.encoder.stage{n}.weight": torch.ones(2) for n in range(3)}
    chosen = choose_state_dict({"model": stored}, "a.pth", LIKE)
    assert list(chosen) == ["stage0.weight", "stage1.weight", "stage2.weight"]


def test_a_file_without_tensors_is_refused():
    with pytest.raises(ValueError, match=r"holds no state dict\. Save `model\.state_dict\(\)`"):
        chosen_value({"epoch": 3, "state_dict": {}})
