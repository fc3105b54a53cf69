"""`tltool report`: what a run achieved, beside two baselines that need no training."""

import argparse
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
import yaml
from lightning.pytorch import Trainer
from rich.console import Console
from rich.table import Table
from torch import Tensor

from tltool.commands.parser import Parser
from tltool.commands.terminal import set_up_process
from tltool.data import (  # noqa: F401  # so that the datamodules are found by name
    digits,
    elpv,
    folder,
    manifest,
    named,
)
from tltool.data.datamodule import ImageDataModule, Part
from tltool.data.dataset import Decoder
from tltool.diagnosis.probe import fit_ridge_probe
from tltool.features.cache import cached_features
from tltool.features.extract import extract_features
from tltool.models.backbone import Backbone
from tltool.models.description import rebuild
from tltool.tasks.image_task import ImageTask
from tltool.tracking.pictures import draw_curves, draw_predictions, read_metrics

NUM_PHOTOS = 12


class Score(NamedTuple):
    """An accuracy on ``num_photos`` photos."""

    accuracy: float
    num_photos: int

    @property
    def standard_error(self) -> float:
        """The standard error of the accuracy, from the size of the evaluation set."""
        return math.sqrt(self.accuracy * (1 - self.accuracy) / self.num_photos)

    def __str__(self) -> str:
        return f"{self.accuracy:.3f} +- {self.standard_error:.3f}"


class Predicted(NamedTuple):
    """Probabilities ``(N, num_classes)``, labels ``(N,)`` and paths of one part."""

    probabilities: Tensor
    labels: Tensor
    paths: list[str]


def main(argv: Sequence[str]) -> int:
    """Run ``tltool report RUN``."""
    parser = argparse.ArgumentParser("tltool report", description="Say what a run achieved.")
    parser.add_argument(
        "run", type=Path, help="a run's folder, such as runs/photos/0; runs/photos for its latest"
    )
    run = _latest(parser.parse_args(argv[1:]).run)
    set_up_process()
    checkpoint = run / "checkpoints" / "best.ckpt"
    if not checkpoint.is_file():
        raise FileNotFoundError(
            f"{str(run)!r} has no checkpoints/best.ckpt. Name the folder of a finished run, for "
            "example runs/photos/0."
        )
    task = ImageTask.load_from_checkpoint(checkpoint)
    config = yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8"))
    data = _data_of(config, task)
    part: Part = "test" if data.splits.test else "val"
    predicted = _predict(task, data, part)
    # As it was before training, and so perhaps in the cache.
    backbone = rebuild(task.recipe["backbone"])
    assert isinstance(backbone, Backbone)  # noqa: S101  # the description was written by one
    parts: tuple[Part, ...] = ("train", part)
    caching = config.get("features", {})
    features = {name: _features(backbone, data, name, caching) for name in parts}
    scores = _scores(features, data, part, predicted)
    _print_table(scores, f"{run}: accuracy on {len(predicted.labels)} {part} photos")
    curves, photos = run / "curves.png", run / "predictions.png"
    draw_curves(read_metrics(run / "metrics.csv"), curves, title=str(run))
    _draw_photos(task, data.decoder, predicted, photos)
    print(f"curves       {curves}\npredictions  {photos}")
    print(f"next         tltool predict --ckpt_path {checkpoint} --data.root FOLDER")
    return 0


def _latest(run: Path) -> Path:
    """Return the run itself, or of a folder of numbered runs the latest."""
    numbers = [int(p.name) for p in run.iterdir() if p.name.isdecimal()] if run.is_dir() else []
    return run / str(max(numbers)) if numbers else run


def _data_of(config: dict[str, Any], task: ImageTask) -> ImageDataModule:
    parser = Parser(prog="tltool report")
    parser.add_lightning_class_args(ImageDataModule, "data", subclass_mode=True)
    data = config["data"]
    data["init_args"] |= {"data_config": task.data_config, "class_names": task.class_names}
    module: ImageDataModule = parser.instantiate(parser.parse_object({"data": data})).data
    return module


def _predict(task: ImageTask, data: ImageDataModule, part: Part) -> Predicted:
    loader = data.evaluation_dataloader(part)
    trainer = Trainer(
        logger=False, enable_checkpointing=False, enable_model_summary=False, devices=1
    )
    batches: list[Any] = trainer.predict(task, dataloaders=loader) or []
    probabilities = torch.cat([batch["probabilities"] for batch in batches])
    paths = [path for batch in batches for path in batch["paths"]]
    return Predicted(probabilities, torch.tensor(data.samples(part).labels), paths)


def _features(
    backbone: Backbone, data: ImageDataModule, part: Part, caching: Mapping[str, Any]
) -> Tensor:
    """Return the features of a part, by the cache of the run if it had one."""
    loader = data.evaluation_dataloader(part)
    if not caching.get("enabled", False):
        description = f"features of the {part} photos"
        return extract_features(backbone, loader, description=description, total=len(loader))[0]
    features = cached_features(
        backbone,
        data.dataset(part),
        cache=caching["cache_dir"],
        batch_size=data.batch_size,
        num_workers=loader.num_workers,
        show_progress=True,
    )
    return features.tensor()


def _scores(
    features: Mapping[Part, Tensor], data: ImageDataModule, part: Part, predicted: Predicted
) -> dict[str, tuple[Score, str]]:
    """Return the scores of both baselines and of the run, each with what it means."""
    labels = predicted.labels
    train_labels = torch.tensor(data.samples("train").labels)
    majority = train_labels.mode().values
    probe = fit_ridge_probe(features["train"], train_labels, data.num_classes)
    return {
        "majority class": (
            _score(labels == majority, labels),
            f"Always saying {data.class_names[int(majority)]!r}; a model below it learned nothing.",
        ),
        "closed-form probe": (
            _score(probe.predict(features[part]) == labels, labels),
            "Ridge regression on the frozen features: what the pretraining gives without training.",
        ),
        "this run": (
            _score(predicted.probabilities.argmax(dim=1) == labels, labels),
            "The checkpoint with the best validation accuracy"
            + (", on the photos that chose it: a little too good." if part == "val" else "."),
        ),
    }


def _score(correct: Tensor, labels: Tensor) -> Score:
    return Score(correct.double().mean().item(), len(labels))


def _print_table(scores: dict[str, tuple[Score, str]], title: str) -> None:
    table = Table("", "accuracy", "what it means", title=title, title_justify="left")
    for name, (score, meaning) in scores.items():
        table.add_row(name, str(score), meaning)
    Console().print(table)


def _draw_photos(task: ImageTask, decode: Decoder, results: Predicted, output: Path) -> None:
    """Draw the most confident errors first, then photos spread over the evaluation set."""
    labels, paths = results.labels, results.paths
    confidence, predicted = results.probabilities.max(dim=1)
    wrong = (predicted != labels).nonzero().flatten()
    worst = wrong[confidence[wrong].argsort(descending=True)][: NUM_PHOTOS // 2].tolist()
    right = [i for i in range(len(labels)) if predicted[i] == labels[i]]
    step = max(1, len(right) // (NUM_PHOTOS - len(worst)))
    chosen = worst + right[::step][: NUM_PHOTOS - len(worst)]
    mode: Literal["L", "RGB"] = "L" if task.data_config["input_size"][0] == 1 else "RGB"
    draw_predictions(
        [decode(paths[i], mode=mode) for i in chosen],
        [
            f"{task.class_names[predicted[i]]} {confidence[i]:.2f}\n"
            f"(is {task.class_names[labels[i]]})"
            for i in chosen
        ],
        [bool(predicted[i] == labels[i]) for i in chosen],
        output,
    )
