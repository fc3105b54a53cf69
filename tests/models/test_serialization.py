import sys
import types

import pytest
from torch import nn

from tltool.models.heads import LinearHead
from tltool.models.serialization import rebuild, serializable


class Plain(nn.Module):
    pass


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
    head = rebuild(LinearHead(8, 3).description)
    assert isinstance(head, LinearHead)


def test_a_class_that_was_not_imported_is_not_imported(tmp_path, monkeypatch):
    (tmp_path / "stranger.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ValueError, match="Import it first: `import stranger`"):
        rebuild({"class_path": "stranger.Head", "init_args": {}})


def test_a_function_in_place_of_a_class_is_not_called():
    with pytest.raises(ValueError, match=r"is no torch\.nn\.Module"):
        rebuild({"class_path": "os.system", "init_args": {"command": "true"}})


def test_a_class_of_an_imported_module_is_rebuilt(monkeypatch):
    monkeypatch.setitem(sys.modules, "my_heads", types.SimpleNamespace(Head=Scaled))
    assert rebuild({"class_path": "my_heads.Head", "init_args": {"factor": 2}}).factor == 2
