from functools import partial

import pytest
import torch

from tltool.inference.predictor import Predictor
from tltool.models.backbone import Backbone
from tltool.models.heads import Head
from tltool.training.image_task import ImageTask

OBJECTIVES = {
    "single_label": {"class_names": ["ants", "bees", "wasps"]},
    "multi_label": {"class_names": ["ants", "bees", "wasps"], "thresholds": [0.2, 0.5, 0.6]},
    "regression": {"class_names": ["age"], "target_stats": {"mean": 40.0, "std": 12.0}},
}


def trained(task):
    """Give a task statistics, fitted norms, adapters that do something, and large logits."""
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(24, *task.data_config["input_size"], generator=generator)
    if task.backbone.needs_calibration:
        task.backbone.calibrate_(images)
    norm = getattr(task.head, "input_norm", None)
    if hasattr(norm, "fit_"):
        norm.fit_(task.backbone.eval()(images).detach())
    task.train()
    with torch.no_grad():
        task(images)
        for name, parameter in task.named_parameters():
            if name.endswith(("lora_b", "bias")):
                parameter.normal_(std=0.05)
        logits = task.eval()(images)
        output = task.head.output if isinstance(task.head, Head) else task.head
        output.weight.mul_(4 / logits.std())
    return task


@pytest.fixture
def make_predictor():
    """Return a function that makes a predictor of three classes with weights as after training."""

    def make(*, head=None, name="test_resnet", surgery=(), objective="single_label", **options):
        torch.manual_seed(0)
        given = {"img_size": 32, "weights": "random", **options}
        backbone = Backbone(name, surgery=list(surgery), **given)
        make_head = head if isinstance(head, type) else partial(Head, **(head or {}))
        kind = OBJECTIVES[objective]
        names = kind["class_names"]
        task = ImageTask(backbone, make_head, num_classes=len(names), objective=objective, **kind)
        return Predictor(trained(task))

    return make
