"""The benchmark of unknown inputs: its scores, and its table."""

import importlib
import json
import sys
from pathlib import Path

import pytest
import torch

BENCHMARK = Path(__file__).parents[2] / "scripts" / "benchmark"


@pytest.fixture
def script(tmp_path, monkeypatch):
    """The script, with results in a temporary folder."""
    monkeypatch.syspath_prepend(str(BENCHMARK))
    script = importlib.import_module("unknown_inputs")
    monkeypatch.setattr(script, "RESULTS", tmp_path / "results.jsonl")
    return script


def columns(seed, *, far):
    """Return 40 images of each of three classes; the last is far from them in one column."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(120) % 3
    centers = {"features": torch.eye(3, 8)[labels], "earlier": torch.eye(3, 8)[labels]}
    centers[far] = centers[far] + 9 * torch.nn.functional.one_hot(labels, 3)[:, 2:].float()
    noise = {name: 0.3 * torch.randn(120, 8, generator=generator) for name in centers}
    return {name: centers[name] + noise[name] for name in centers} | {"labels": labels}


@pytest.mark.parametrize(
    ("far", "score", "blind"),
    [
        ("features", "today's", "earlier blocks"),
        ("features", "covariance of each class", "earlier blocks"),
        ("earlier", "earlier blocks", "today's"),
    ],
)
def test_a_score_sees_what_is_far_where_it_looks(script, far, score, blind):
    found = script.score_layers(columns(0, far=far), columns(1, far=far), 2)
    assert found[score] == 1
    assert found["both"] > 0.99
    assert found[blind] < 1


def test_the_table_has_the_mean_over_the_classes_of_each_network(script, monkeypatch, capsys):
    rows = [
        ("layers", {"a": 0.5, "b": 0.6}),
        ("layers", {"a": 0.7, "b": 0.8}),
        ("fits", {"a": 0.9}),
    ]
    lines = [{"key": {"what": what, "set": "digits"}, "result": found} for what, found in rows]
    script.RESULTS.write_text("\n".join(map(json.dumps, lines)))
    monkeypatch.setattr(sys, "argv", ["unknown_inputs.py", "print"])
    script.main()
    printed = capsys.readouterr().out
    assert "| pretrained | digits | 2 | 0.600 | 0.700 |" in printed
    assert "| after `tltool fit` | digits | 1 | 0.900 | - |" in printed
