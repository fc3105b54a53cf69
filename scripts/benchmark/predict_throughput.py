"""Images a second: `tltool predict` beside a plain PyTorch loop on the same loader.

Both decode with the same workers in the same batches on one device; the loop keeps probabilities
and does nothing else. They take turns, and each turn is a whole pass, also the start of workers.
What the file of predictions takes on top is measured too, and an exported ONNX file in one process
on onnxruntime, which decodes and resizes by itself. Target: at least .95 of the loop.

Run: python scripts/benchmark/predict_throughput.py best.ckpt FOLDER [--onnx best.onnx] [--rounds 5]
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median

import torch

import tltool
from tltool.data.datamodules.image_folder import ImageFolderDataModule
from tltool.inference.export.onnx_runner import OnnxModel
from tltool.inference.prediction_job import predict_to_file
from tltool.inference.predictor import Predictor


@torch.inference_mode()
def plain_loop(predictor: Predictor, data: ImageFolderDataModule) -> int:
    """Predict all images by a loop; return their number."""
    found = []
    for batch in data.predict_dataloader():
        images = batch["images"].to(predictor.device, non_blocking=True)
        found.append(predictor.task(images).softmax(dim=1).cpu())
    return len(torch.cat(found))


def by_predictor(predictor: Predictor, data: ImageFolderDataModule) -> int:
    """Predict all images by the predictor; return their number."""
    return len(predictor.predict_data(data).paths)


def into_file(predictor: Predictor, data: ImageFolderDataModule) -> int:
    """Predict all images into a table; return their number."""
    with tempfile.TemporaryDirectory() as folder:
        return predict_to_file(predictor, data, Path(folder) / "predictions.csv")


WAYS: dict[str, Callable[[Predictor, ImageFolderDataModule], int]] = {
    "plain PyTorch loop": plain_loop,
    "Predictor.predict_data": by_predictor,
    "predict_to_file": into_file,
}


def by_onnxruntime(model: OnnxModel, predictor: Predictor, data: ImageFolderDataModule) -> int:
    """Predict all images by an exported file; return their number."""
    return len(model.predict(data.unlabeled.paths))


def measure(
    predictor: Predictor, data: ImageFolderDataModule, rounds: int, model: OnnxModel | None = None
) -> dict[str, float]:
    """Return the images a second of each way, the median over rounds in which they take turns."""
    ways = WAYS | ({"exported, onnxruntime": partial(by_onnxruntime, model)} if model else {})
    speeds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            predictor.to("cuda" if torch.cuda.is_available() else "cpu")
            start = time.perf_counter()
            number = way(predictor, data)
            speeds[name].append(number / (time.perf_counter() - start))
    return {name: median(values) for name, values in speeds.items()}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint")
    parser.add_argument("folder")
    parser.add_argument("--onnx")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batch_size", type=int, default=32)
    parser.add_argument("--num_workers", type=int)
    given = parser.parse_args()
    predictor = tltool.load(given.checkpoint)
    data = ImageFolderDataModule(
        given.folder,
        batch_size=given.batch_size,
        num_workers=given.num_workers,
        data_config=predictor.task.data_config,
        class_names=predictor.class_names,
    )
    model = OnnxModel(given.onnx) if given.onnx else None
    found = measure(predictor, data, given.rounds, model)
    for name, speed in found.items():
        print(f"{name:<24}{speed:8.1f} images/s{speed / found['plain PyTorch loop']:7.3f} of it")


if __name__ == "__main__":
    main()
