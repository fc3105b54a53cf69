"""Workers that would run a script anew are refused before any is started."""

import multiprocessing
import sys
from types import SimpleNamespace

import pytest

from tltool.data.loading.num_workers import resolve_num_workers


@pytest.fixture
def started_by(monkeypatch, tmp_path):
    """Make the running program a script of some text, on a machine of some start method."""

    def pretend(method, text):
        script = tmp_path / "train.py"
        script.write_text(text)
        monkeypatch.setitem(sys.modules, "__main__", SimpleNamespace(__file__=str(script)))
        monkeypatch.setattr(multiprocessing, "get_start_method", lambda allow_none: method)

    return pretend


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
@pytest.mark.parametrize("text", ["train()\n", "log = logging.getLogger(__name__)\ntrain()\n"])
def test_a_script_without_a_main_guard_is_refused(started_by, method, text):
    started_by(method, text)
    with pytest.raises(RuntimeError, match=r'would run .*train\.py anew.*__name__ == "__main__"'):
        resolve_num_workers(2, 1)


@pytest.mark.parametrize(
    ("method", "text"),
    [
        ("spawn", 'if __name__ == "__main__":\n    train()\n'),
        ("spawn", "if '__main__' == __name__:\n    train()\n"),
        ("fork", "train()\n"),
    ],
)
def test_where_nothing_runs_twice_workers_are_started(started_by, method, text):
    started_by(method, text)
    assert resolve_num_workers(2, 1) == 2


def test_without_workers_no_script_needs_a_guard(started_by):
    started_by("spawn", "train()\n")
    assert resolve_num_workers(0, 1) == 0


def test_a_console_has_no_script_to_run_anew(started_by, monkeypatch):
    started_by("spawn", "")
    monkeypatch.setitem(sys.modules, "__main__", SimpleNamespace())
    assert resolve_num_workers(2, 1) == 2
