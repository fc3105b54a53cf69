"""A graph that torch loads without tltool, for any number of images."""

import json
import os
import subprocess
import sys

import pytest
import torch

from tltool.inference.export.agreement import example_images
from tltool.inference.export.torch_program import FACTS, write_torch_program

WITHOUT_TLTOOL = """
import sys
class Refuse:
    def find_spec(self, name, *args):
        if name.partition(".")[0] in {"tltool", "timm"}: raise ImportError(f"{name} is not here")
sys.meta_path.insert(0, Refuse())
import torch
model = torch.export.load(sys.argv[1]).module()
torch.save(model(torch.load(sys.argv[2])).detach(), sys.argv[3])
"""

CASES = {
    "maxout behind whitening": {
        "head": {"hidden_features": [8], "activation": "maxout", "input_norm": "whiten"}
    },
    "unit length": {"head": {"input_norm": "l2"}},
    "adapters": {"surgery": [{"add_lora": {"rank": 2}}]},
    "matched swap": {"surgery": [{"swap_activations": {"to": "elu", "match": "moments"}}]},
    "replaced norms": {"surgery": [{"replace_norms": "group"}]},
    "removed norms": {"surgery": ["remove_norms"]},
    "folded norms": {"surgery": ["fold_norms"]},
    "added norms": {"surgery": ["add_norms"], "name": "test_vit"},
    "statistics": {"surgery": [{"reestimate_statistics": {"blend": 0.1}}]},
    "reinitialized": {"surgery": [{"reinitialize": [-1]}]},
    "early stop": {"stop_at": "layer2"},
    "early stop of a transformer": {"stop_at": "blocks.1", "name": "test_vit"},
    "pixels": {"name": "pixels"},
    "several labels": {"objective": "multi_label"},
    "convolutions that skip pixels": {"name": "test_byobnet"},
}


@pytest.mark.slow
@pytest.mark.parametrize("options", CASES.values(), ids=CASES)
def test_the_graph_gives_the_logits_of_the_checkpoint(make_predictor, tmp_path, options):
    predictor = make_predictor(**options)
    write_torch_program(predictor, tmp_path / "model.pt2")
    model = torch.export.load(tmp_path / "model.pt2").module()
    images = example_images(predictor.task, num_images=5)
    torch.testing.assert_close(model(images), predictor.task(images), atol=1e-3, rtol=1e-4)


@pytest.mark.slow
def test_a_process_without_tltool_loads_the_graph_with_what_one_must_know(make_predictor, tmp_path):
    predictor = make_predictor(head={"hidden_features": [8], "input_norm": "batch"})
    file, images, logits = (tmp_path / name for name in ("model.pt2", "images.pt", "logits.pt"))
    write_torch_program(predictor, file, fold_norms=True)
    torch.save(example_images(predictor.task, num_images=1), images)
    command = [sys.executable, "-c", WITHOUT_TLTOOL, str(file), str(images), str(logits)]
    subprocess.run(command, check=True, env=os.environ, timeout=120)
    expected = predictor.task(torch.load(images)).detach()
    torch.testing.assert_close(torch.load(logits), expected, atol=1e-3, rtol=1e-4)
    facts = {FACTS: ""}
    torch.export.load(file, extra_files=facts)
    assert json.loads(facts[FACTS])["class_names"] == ["ants", "bees", "wasps"]
