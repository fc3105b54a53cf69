"""Messages and lookups where there are thousands of classes."""

import pytest

from tltool.data.datamodules.class_weights import class_weights
from tltool.data.datamodules.record_splits import check_class_names
from tltool.data.loading.samples import Samples, Splits

NAMES = [f"class {number:05d}" for number in range(8000)]
NUMBERS = [str(number) for number in range(8000)]


def test_a_warning_of_missing_classes_names_some():
    splits = Splits(Samples(["a"], [0]), Samples(["b"], [0]))
    assert splits.missing_classes(NAMES)["val"].endswith("and 7979 more")


def test_an_error_of_class_weights_names_some():
    with pytest.raises(ValueError, match="7,980 more") as caught:
        class_weights([1.0], [1] * 8000, NAMES)
    assert len(str(caught.value)) < 1000


class Counted(str):
    """A name that counts how often it is compared."""

    __slots__ = ()
    compared = 0

    def __eq__(self, other):
        Counted.compared += 1
        return str.__eq__(self, other)

    __hash__ = str.__hash__


def test_names_are_looked_up_and_not_searched():
    names = [Counted(name) for name in NAMES]
    check_class_names(NAMES, names, place="'images'", split="val")
    class_weights(dict.fromkeys(NAMES, 1.0), [1] * 8000, names)
    assert Counted.compared < 10 * len(names)


def test_names_that_yaml_reads_as_numbers_are_looked_up_too():
    weights = class_weights(dict.fromkeys(range(8000), 1.0), [1] * 8000, NUMBERS)
    assert weights == [1.0] * 8000
