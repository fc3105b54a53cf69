"""The serving example: an image that is posted is predicted as its file is."""

import importlib
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

import tltool
from tltool.models.backbone import Backbone
from tltool.training.checkpoint_io import TASK, AtomicCheckpointIO
from tltool.training.image_task import ImageTask

SCRIPTS = Path(__file__).parents[2] / "scripts"


@pytest.fixture
def checkpoint(tmp_path):
    backbone = Backbone("test_resnet", weights="random", img_size=32)
    task = ImageTask(backbone, num_classes=2, class_names=["blue", "red"])
    path = tmp_path / "best.ckpt"
    AtomicCheckpointIO().save_checkpoint(
        {TASK: task.task_config, "state_dict": task.state_dict()}, path
    )
    return path


@pytest.fixture
def client(checkpoint, monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPTS))
    return TestClient(importlib.import_module("serve").make_app(str(checkpoint)))


def test_an_image_that_is_posted_is_predicted_as_its_file(client, checkpoint, images):
    path = images / "red" / "00.png"
    answer = client.post("/predict", content=path.read_bytes()).json()
    expected = tltool.load(checkpoint).predict(path)
    assert answer["label"] == expected.label
    assert answer["probabilities"] == pytest.approx(expected.probabilities, abs=1e-6)


def test_what_is_no_image_is_answered_by_422(client):
    answer = client.post("/predict", content=b"none")
    assert answer.status_code == 422
    assert "its content is no image" in answer.json()["detail"]


def test_the_example_is_short():
    code = (SCRIPTS / "serve.py").read_text().split("import sys")[1]
    assert len(code.strip().splitlines()) <= 35
