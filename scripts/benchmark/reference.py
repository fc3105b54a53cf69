"""What transfer.py compares with: linear probing, then fine-tuning, in a page of plain PyTorch.

The head starts as a ridge in closed form on the frozen features; then everything trains: AdamW,
batch 32, one cycle up to a learning rate of 3e-4, label smoothing .1, random crops of at least half
of the area and flips, 4 epochs. Batch norms keep their running statistics while their weights
train. The last epoch counts: no image chooses anything. Reads weights and head by tltool, and
nothing else.

Usage: python reference.py SPEC  (JSON: folder, backbone, img_size, seed)
"""

import json
import sys
from pathlib import Path
from typing import Any

import torch
from timm.data import create_transform
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.datasets import ImageFolder

from tltool.models.backbone import Backbone
from tltool.models.ridge_probe import fit_ridge_probe

EPOCHS = 4
BATCH = 32
LR = 3e-4
WEIGHT_DECAY = 0.05
SMOOTHING = 0.1


def main() -> None:
    """Train, and print the predicted class of each validation image as JSON."""
    spec = json.loads(sys.argv[1])
    torch.manual_seed(spec["seed"])
    backbone = Backbone(spec["backbone"], img_size=spec["img_size"])
    config = {key: backbone.data_config[key] for key in ("input_size", "mean", "std")}
    keep = {key: backbone.data_config[key] for key in ("interpolation", "crop_pct", "crop_mode")}
    plain = create_transform(**config, **keep, is_training=False)
    augmented = transforms.Compose(
        [
            transforms.RandomResizedCrop(spec["img_size"], scale=(0.5, 1.0)),
            transforms.RandomHorizontalFlip(),
            transforms.ToTensor(),
            transforms.Normalize(config["mean"], config["std"]),
        ]
    )
    folder = Path(spec["folder"])
    train, val = ImageFolder(folder / "train", augmented), ImageFolder(folder / "val", plain)
    frozen = ImageFolder(folder / "train", plain)
    model = nn.Sequential(backbone.model, _head(backbone.model, frozen))
    # Evaluation mode throughout: it is what keeps the running statistics.
    model.eval().to(memory_format=torch.channels_last)
    loader = DataLoader(train, BATCH, shuffle=True, num_workers=1, persistent_workers=True)
    optimizer = torch.optim.AdamW(model.parameters(), lr=LR, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LR, total_steps=EPOCHS * len(loader))
    for _ in range(EPOCHS):
        for images, labels in loader:
            logits = model(images.to(memory_format=torch.channels_last))
            loss = functional.cross_entropy(logits, labels, label_smoothing=SMOOTHING)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    labels = _outputs(model, val)[0].argmax(dim=1).tolist()
    predicted = {
        Path(path).relative_to(folder / "val").as_posix(): val.classes[label]
        for (path, _), label in zip(val.samples, labels, strict=True)
    }
    print(json.dumps({"predicted": predicted, "epochs": EPOCHS, "lr": LR}))


def _head(model: nn.Module, frozen: ImageFolder) -> nn.Linear:
    """Return the linear layer that is a ridge on the frozen features, in closed form."""
    features, labels = _outputs(model.eval(), frozen)
    num_classes = len(frozen.classes)
    probe = fit_ridge_probe(features, labels, num_classes, label_smoothing=SMOOTHING)
    weight, bias = probe.linear()
    head = nn.Linear(features.shape[1], num_classes)
    head.load_state_dict({"weight": weight, "bias": bias})
    return head


@torch.inference_mode()
def _outputs(model: nn.Module, images: Any) -> tuple[torch.Tensor, torch.Tensor]:
    loader = DataLoader(images, BATCH, num_workers=1)
    rows = [(model(x.to(memory_format=torch.channels_last)), y) for x, y in loader]
    outputs, labels = (torch.cat(tensors) for tensors in zip(*rows, strict=True))
    return outputs.clone(), labels


if __name__ == "__main__":
    main()
