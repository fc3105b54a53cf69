"""What transfer.py measures of fastai and autotimm, each in an environment of its own.

Both fine-tune as their documentation says, from the same weights, with the mean and standard
deviation that these were trained with, and batches of 32. Prints the predicted class of each
validation image.

Usage: python fine_tune_others_job.py SPEC  (JSON: method, folder, backbone, weights, ...)
"""

import json
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

BATCH = 32
FASTAI_EPOCHS = 4
AUTOTIMM_EPOCHS, AUTOTIMM_LR = 10, 1e-3


def fastai(spec: dict[str, Any]) -> dict[str, Any]:
    """Fine-tune by ``fine_tune``: an epoch of the head, then 4 of everything."""
    from fastai.vision import all as fastai_vision

    fastai_vision.set_seed(spec["seed"], reproducible=True)
    size = spec["img_size"]
    loaders = fastai_vision.ImageDataLoaders.from_folder(
        spec["folder"],
        train="train",
        valid="val",
        item_tfms=fastai_vision.Resize(
            2 * size
        ),  # As in its tutorial: large, then augmented small.
        batch_tfms=[
            *fastai_vision.aug_transforms(size=size),
            # It adds them itself only where it loads the weights.
            fastai_vision.Normalize.from_stats(spec["mean"], spec["std"]),
        ],
        bs=BATCH,
    )
    learner = fastai_vision.vision_learner(
        loaders, spec["backbone"], pretrained=False, metrics=fastai_vision.accuracy
    )
    learner.model[0].model.load_state_dict(torch.load(spec["weights"], weights_only=True))
    with learner.no_bar(), learner.no_logging():
        learner.fine_tune(FASTAI_EPOCHS)
        probabilities, _ = learner.get_preds(dl=loaders.valid)
    return {
        "predicted": _by_path(loaders.valid.items, probabilities, list(loaders.vocab)),
        "epochs": FASTAI_EPOCHS + 1,
    }


def autotimm(spec: dict[str, Any]) -> dict[str, Any]:
    """Train an ``ImageClassifier`` with an ``AutoTrainer``, as in its first example."""
    import autotimm as at
    from lightning_fabric import seed_everything

    seed_everything(spec["seed"])
    transform = at.TransformConfig(
        image_size=spec["img_size"], mean=tuple(spec["mean"]), std=tuple(spec["std"])
    )
    data = at.ImageDataModule(
        data_dir=spec["folder"],
        image_size=spec["img_size"],
        batch_size=BATCH,
        transform_config=transform,
        backbone=spec["backbone"],
    )
    data.setup("fit")
    accuracy = at.MetricConfig(
        name="accuracy",
        backend="torchmetrics",
        metric_class="Accuracy",
        params={"task": "multiclass"},
        stages=["train", "val"],
    )
    model = at.ImageClassifier(
        at.BackboneConfig(spec["backbone"], pretrained=False),
        num_classes=data.num_classes,
        lr=AUTOTIMM_LR,
        metrics=[accuracy],
        compile_model=False,  # Compiling takes longer than it saves here.
        seed=spec["seed"],
    )
    model.backbone.load_state_dict(torch.load(spec["weights"], weights_only=True))
    trainer = at.AutoTrainer(
        max_epochs=AUTOTIMM_EPOCHS,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        seed=spec["seed"],
        # Its search for a learning rate trains longer than the fit; it found 2e-6 for 40 images.
        tuner_config=False,
    )
    trainer.fit(model, datamodule=data)
    model.eval()
    with torch.inference_mode():
        logits = torch.cat([model(images) for images, _ in data.val_dataloader()])
    paths = [path for path, _ in data.val_dataset.samples]
    return {
        "predicted": _by_path(paths, logits, data.class_names),
        "epochs": AUTOTIMM_EPOCHS,
        "lr": AUTOTIMM_LR,
    }


def _by_path(paths: Any, scores: torch.Tensor, class_names: list[str]) -> dict[str, str]:
    """Return the most probable class of each image by its path from the split on."""
    names = [f"{Path(path).parent.name}/{Path(path).name}" for path in paths]
    labels = scores.argmax(dim=1).tolist()
    return {name: class_names[label] for name, label in zip(names, labels, strict=True)}


if __name__ == "__main__":
    spec = json.loads(sys.argv[1])
    found = {"fastai": fastai, "autotimm": autotimm}[spec["method"]](spec)
    found["versions"] = {each: version(each) for each in (spec["method"], "timm", "torch")}
    print(json.dumps(found))
