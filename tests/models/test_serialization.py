import sys
import types
from collections.abc import Callable
from functools import partial

import pytest
from jsonargparse import ArgumentParser
from torch import nn

from tltool.models.heads import Head
from tltool.models.serialization import build_serializable, rebuild, serializable


class Plain(nn.Module):
    def __init__(self, num_features: int, num_classes: int, *, width: int = 1, **options: int):
        super().__init__()
        self.arguments = (num_features, num_classes, width, options)


@serializable
class Scaled(nn.Module):
    def __init__(self, factor, sizes=(1, 2)):
        super().__init__()
        self.factor, self.sizes = factor, sizes


class Child(Scaled):
    pass


def test_arguments_and_defaults_are_recorded_as_plain_data():
    assert Scaled(3).description["init_args"] == {"factor": 3, "sizes": [1, 2]}


def test_a_subclass_does_not_pass_for_its_parent():
    assert not hasattr(Child(3), "description")


def test_an_object_as_argument_is_refused():
    with pytest.raises(
        TypeError, match=r"Scaled\(factor=...\) got a ReLU, .* Pass names and numbers"
    ):
        Scaled(nn.ReLU())


def test_a_head_is_rebuilt_from_its_description():
    head = rebuild(Head(8, 3).description)
    assert isinstance(head, Head)


def test_arguments_of_another_version_are_named_with_what_to_do():
    description = Head(4, 2).description
    newer = {**description, "init_args": {**description["init_args"], "scale": 2.0}}
    with pytest.raises(ValueError, match=r"makes its Head with scale, .* Another version"):
        rebuild(newer)


def test_a_class_that_was_not_imported_is_not_imported(tmp_path, monkeypatch):
    (tmp_path / "stranger.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ValueError, match=r"`import stranger`, then .* --modules stranger"):
        rebuild({"class_path": "stranger.Head", "init_args": {}})


def test_a_function_in_place_of_a_class_is_not_called():
    with pytest.raises(ValueError, match=r"is no torch\.nn\.Module"):
        rebuild({"class_path": "os.system", "init_args": {"command": "true"}})


def test_a_class_of_an_imported_module_is_rebuilt(monkeypatch):
    monkeypatch.setitem(sys.modules, "my_heads", types.SimpleNamespace(Head=Scaled))
    assert rebuild({"class_path": "my_heads.Head", "init_args": {"factor": 2}}).factor == 2


DEPTH = "{depth: 4}"


def of_yaml(text):
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--head", type=Callable[[int, int], nn.Module])
    return parser.instantiate(parser.parse_args([f"--head={text}"])).head


@pytest.mark.parametrize(
    "factory",
    [
        partial(Plain, width=3, depth=4),
        of_yaml(f"{{class_path: {__name__}.Plain, init_args: {{width: 3}}, dict_kwargs: {DEPTH}}}"),
    ],
)
def test_a_class_without_a_decorator_is_rebuilt_from_how_it_was_called(factory):
    description = build_serializable(factory, 8, 2).description
    assert rebuild(description).arguments == (8, 2, 3, {"depth": 4})


def test_what_a_function_makes_is_not_described():
    assert not hasattr(build_serializable(lambda n: Plain(n, n), 8), "description")


def test_what_a_function_of_a_class_makes_is_not_described():
    double = partial(lambda cls, n: cls(2 * n, n), Plain)
    assert not hasattr(build_serializable(double, 8), "description")


def test_what_a_class_says_of_itself_is_kept():
    assert build_serializable(partial(Scaled, sizes=[3]), 2).description["init_args"] == {
        "factor": 2,
        "sizes": [3],
    }
