import pytest

from tltool.comparison.variants import Variant, check_variant, cross_axes


def test_axes_are_crossed():
    variants, _ = cross_axes({"activation": ["relu", "gelu"], "norm": [None, "batch"]})
    assert list(variants) == ["relu, no norm", "relu, batch", "gelu, no norm", "gelu, batch"]
    assert variants["gelu, batch"].head.items() >= {"activation": "gelu", "norm": "batch"}.items()


def test_depth_and_width_make_the_hidden_layers():
    variants, _ = cross_axes({"depth": [1, 3], "width": [32]})
    assert variants["depth 3, width 32"].head["hidden_features"] == [32, 32, 32]


def test_a_head_without_hidden_layers_is_there_once():
    variants, _ = cross_axes({"depth": [0, 1], "activation": ["relu", "gelu"]})
    assert list(variants) == ["depth 0", "depth 1, relu", "depth 1, gelu"]
    check_variant(variants["depth 0"], 8, 2)


def test_a_head_without_hidden_layers_keeps_its_dropout():
    variants, _ = cross_axes({"depth": [0], "dropout": [0.0, 0.5]})
    assert [variant.head.get("dropout") for variant in variants.values()] == [0.0, 0.5]


def test_the_reference_is_the_head_that_was_given():
    head = {"activation": "gelu", "dropout": 0.1}
    _, reference = cross_axes({"activation": ["relu", "gelu"], "dropout": [0.5, 0.1]}, head=head)
    assert reference == "gelu, dropout 0.1"


def test_a_default_that_was_not_written_down_is_the_reference_too():
    _, reference = cross_axes({"bias": [0.01, 0.0], "depth": [2, 1]})
    assert reference == "bias 0.0, depth 1"


def test_the_optimizer_may_be_an_axis():
    variants, _ = cross_axes({"optimizer": ["SGD", {"name": "AdamW", "weight_decay": 0.5}]})
    assert variants["AdamW(weight_decay=0.5)"].optimizer["weight_decay"] == 0.5


@pytest.mark.parametrize(
    ("axes", "message"),
    [
        ({"activaton": ["relu"]}, "Did you mean 'activation'"),
        ({"activation": ["relu", "relu"]}, "'relu' twice"),
        ({"activation": []}, "no value"),
    ],
)
def test_a_wrong_axis_is_refused(axes, message):
    with pytest.raises(ValueError, match=message):
        cross_axes(axes)


@pytest.mark.parametrize(
    ("axes", "hidden", "message"),
    [
        ({"width": [64, 128]}, [], "no hidden layer.*`depth`"),
        ({"depth": [1, 2]}, [512, 64], r"one width, for example \[512, 512\]"),
        ({"depth": [-1, 1]}, [256], "`depth` must be a whole number of at least 0, got -1"),
        ({"depth": [1.5]}, [256], "`depth` must be a whole number of at least 0, got 1.5"),
    ],
)
def test_layers_that_an_axis_does_not_describe_are_refused(axes, hidden, message):
    with pytest.raises(ValueError, match=message):
        cross_axes(axes, head={"hidden_features": hidden})


@pytest.mark.parametrize(
    ("head", "message"),
    [
        ({"activation": "gleu"}, "Did you mean 'gelu'"),
        ({"norm": {"name": "batch", "momentum": None}}, "momentum: 0.1"),
        ({"hidden_features": [], "activation": "gelu"}, "hidden_features"),
    ],
)
def test_a_head_that_cannot_be_is_refused(head, message):
    with pytest.raises(ValueError, match=message):
        check_variant(Variant(head), 8, 2)
