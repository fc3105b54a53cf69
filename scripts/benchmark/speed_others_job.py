"""What speed.py times beside tltool: fastai or autotimm, each in an environment of its own.

Both as their documentation says, with a frozen EfficientNet-Lite0, batch 32, and a validation each
epoch. Prints the last validation accuracy.

Usage: python speed_others_job.py fastai|autotimm WEIGHTS FOLDER EPOCHS
"""

import sys

import torch


def fastai(weights: str, folder: str, epochs: int) -> float:
    """Train the head of a ``vision_learner``."""
    from fastai.vision.all import ImageDataLoaders, Resize, accuracy, vision_learner

    loaders = ImageDataLoaders.from_folder(
        folder, train="train", valid="val", item_tfms=Resize(224), bs=32
    )
    learner = vision_learner(loaders, "tf_efficientnet_lite0", pretrained=False, metrics=accuracy)
    learner.model[0].model.load_state_dict(torch.load(weights, weights_only=True))
    learner.freeze()
    with learner.no_bar():
        learner.fit(epochs, 1e-3)
    return float(learner.recorder.values[-1][-1])


def autotimm(weights: str, folder: str, epochs: int) -> float:
    """Train an ``ImageClassifier`` with ``freeze_backbone``."""
    import autotimm as at

    accuracy = at.MetricConfig(
        name="accuracy",
        backend="torchmetrics",
        metric_class="Accuracy",
        params={"task": "multiclass"},
        stages=["train", "val"],
    )
    data = at.ImageDataModule(data_dir=folder, image_size=224, batch_size=32, num_workers=2)
    model = at.ImageClassifier(
        at.BackboneConfig("tf_efficientnet_lite0", pretrained=False),
        num_classes=2,
        metrics=[accuracy],
        freeze_backbone=True,
        compile_model=False,  # Compiling takes longer than it saves here.
    )
    model.backbone.load_state_dict(torch.load(weights, weights_only=True))
    # Its search for a rate and a batch size is left out: it would train for longer than the fit.
    trainer = at.AutoTrainer(
        max_epochs=epochs, logger=False, enable_checkpointing=False, tuner_config=False
    )
    trainer.fit(model, datamodule=data)
    return float(trainer.callback_metrics["val/accuracy"])


if __name__ == "__main__":
    print(globals()[sys.argv[1]](sys.argv[2], sys.argv[3], int(sys.argv[4])))
