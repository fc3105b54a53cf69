import json

import pytest
from torch import nn

from tltool.surgery.edits import apply_surgery_


def perceptron():
    return nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4), nn.Tanh())


def test_edits_are_made_in_their_order():
    model = perceptron()
    edits = [{"swap_activations": {"to": "gelu", "only": "1"}}, {"swap_activations": "elu"}]
    first, second = apply_surgery_(model, edits)
    assert first.swapped == {"1": "relu"}
    assert second.swapped == {"1": "gelu", "3": "tanh"}


def test_an_edit_that_went_through_json_is_the_same():
    edit = {"swap_activations": {"to": {"name": "elu", "alpha": 0.5}, "only": ["1"]}}
    model = perceptron()
    apply_surgery_(model, json.loads(json.dumps([edit])))
    assert model[1].alpha == 0.5


def test_no_edit_changes_nothing():
    assert apply_surgery_(perceptron(), []) == []


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        ({"swap_activation": "gelu"}, "Unknown edit .* Did you mean 'swap_activations'"),
        ({"swap_activations": {"to": "gelu", "onyl": "1"}}, "argument 'onyl'. Did you mean 'only'"),
        ({"swap_activations": {"only": "1"}}, "needs `to`: write {swap_activations: {to: ..."),
    ],
)
def test_a_wrong_edit_is_refused_before_any_is_made(edit, message):
    model = perceptron()
    with pytest.raises(ValueError, match=message):
        apply_surgery_(model, [{"swap_activations": "gelu"}, edit])
    assert isinstance(model[1], nn.ReLU)


@pytest.mark.parametrize("edit", ["swap_activations", {}, {"swap_activations": "elu", "b": 1}])
def test_an_edit_that_is_no_mapping_of_one_name_is_refused(edit):
    with pytest.raises(TypeError, match="must be a mapping of one name to its arguments"):
        apply_surgery_(perceptron(), [edit])


@pytest.mark.parametrize("edits", ["gelu", {"swap_activations": "gelu"}, None])
def test_edits_that_are_no_list_are_refused(edits):
    with pytest.raises(TypeError, match="`surgery` must be a list of edits"):
        apply_surgery_(perceptron(), edits)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        ({"replace_norms": {"to": "group", "num_groups": "8"}}, "takes a whole number or null"),
        ({"replace_norms": {"to": "group", "num_groups": 8.0}}, "got 8.0, a float"),
        ({"reestimate_statistics": "0.1"}, "`blend` of reestimate_statistics takes a number; got"),
        ({"add_lora": {"rank": 4, "alpha": "16"}}, "`alpha` of add_lora takes a number; got '16'"),
        ({"reinitialize": {"groups": None}}, "a list of a whole number or text; got None"),
        ({"reinitialize": {"groups": True}}, "`groups` of reinitialize takes .* got True, a bool"),
        ({"swap_activations": {"to": "gelu", "old": ["relu"]}}, "`old` .* takes text or null"),
    ],
)
def test_an_argument_of_another_type_is_refused(edit, message):
    with pytest.raises(TypeError, match=message):
        apply_surgery_(nn.Sequential(nn.Linear(2, 2), nn.ReLU()), [edit])
