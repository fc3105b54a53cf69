import pytest

from tltool._lookup import lookup, nearest_name

TABLE = {"relu": 1, "leaky_relu": 2, "gelu": 3}


def test_a_known_name_is_found():
    assert lookup(TABLE, "gelu", kind="activation") == 3


def test_an_unknown_name_gets_the_nearest_one_and_all_choices():
    with pytest.raises(
        ValueError, match=r"'gleu'. Did you mean 'gelu'\? Choose one of: gelu, leaky_relu, relu\."
    ):
        lookup(TABLE, "gleu", kind="activation")


def test_a_name_like_no_other_gets_the_choices_without_a_guess():
    with pytest.raises(ValueError, match=r"Unknown activation 'xyzzy'\. Choose one of: gelu"):
        lookup(TABLE, "xyzzy", kind="activation")


@pytest.mark.parametrize("spelling", ["LEAKY_RELU", "leaky-relu", "Leaky ReLU", "LeakyReLU"])
def test_the_class_name_of_a_layer_finds_its_name(spelling):
    assert nearest_name(TABLE, spelling) == "leaky_relu"


def test_an_empty_table_says_that_it_is_empty():
    with pytest.raises(ValueError, match="There is none to choose"):
        lookup({}, "relu", kind="activation")


def test_of_thousands_of_names_some_are_listed():
    names = {f"class {number}": number for number in range(8000)}
    with pytest.raises(ValueError, match="7,940 more") as caught:
        lookup(names, "moth", kind="class")
    assert len(str(caught.value)) < 1000
