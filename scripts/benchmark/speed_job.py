"""What speed.py times beside tltool: a linear head by hand, in a process of its own.

Usage: python speed_job.py bound|loop WEIGHTS FOLDER EPOCHS
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import timm
import torch
from PIL import Image
from timm.data import create_transform, resolve_model_data_config
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

BATCH = 32
LOADER: dict[str, Any] = {"num_workers": 1, "persistent_workers": True}


class Images(Dataset[tuple[torch.Tensor, int]]):
    """The images of a folder with one folder a class, decoded and transformed as timm does."""

    def __init__(self, folder: Path, transform: Callable[[Any], Any]) -> None:
        classes = sorted(path.name for path in folder.iterdir() if path.is_dir())
        self.items = [
            (path, label)
            for label, name in enumerate(classes)
            for path in sorted((folder / name).iterdir())
        ]
        self.transform = transform

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        path, label = self.items[index]
        return self.transform(Image.open(path).convert("RGB")), label


def features_of(model: nn.Module, images: torch.Tensor) -> torch.Tensor:
    """Return the features of a batch, without gradients."""
    with torch.inference_mode():
        return model(images.to(memory_format=torch.channels_last))


def main() -> None:
    """Train the head, and print the accuracy of the last epoch."""
    mode, weights, folder, epochs = sys.argv[1], sys.argv[2], Path(sys.argv[3]), int(sys.argv[4])
    torch.manual_seed(0)
    model = timm.create_model("tf_efficientnet_lite0", num_classes=0)
    model.load_state_dict(torch.load(weights, weights_only=True))
    model = model.eval().to(memory_format=torch.channels_last)
    transform = create_transform(**resolve_model_data_config(model), is_training=False)
    parts: dict[str, DataLoader[Any]] = {
        part: DataLoader(Images(folder / part, transform), BATCH, shuffle=part == "train", **LOADER)
        for part in ("train", "val")
    }
    if mode == "bound":  # One pass, in order; then batches of features.
        for part, loader in parts.items():
            rows = [(features_of(model, images), labels) for images, labels in loader]
            features, labels = (torch.cat(tensors) for tensors in zip(*rows, strict=True))
            pairs = list(zip(features.clone(), labels, strict=True))
            parts[part] = DataLoader(pairs, BATCH, shuffle=part == "train")
    head = nn.Linear(1280, 2)
    optimizer = torch.optim.AdamW(head.parameters(), lr=1e-3, weight_decay=0.05)
    for _ in range(epochs):
        for images, labels in parts["train"]:
            features = images if mode == "bound" else features_of(model, images).clone()
            optimizer.zero_grad()
            functional.cross_entropy(head(features), labels).backward()
            optimizer.step()
        right = 0
        with torch.no_grad():
            for images, labels in parts["val"]:
                features = images if mode == "bound" else features_of(model, images)
                right += int((head(features).argmax(1) == labels).sum())
    print(right / len(parts["val"].dataset))


if __name__ == "__main__":
    main()
