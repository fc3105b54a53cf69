"""A task learns, measures, and is rebuilt from its checkpoint."""

import copy
from functools import partial

import pytest
import torch
from lightning.pytorch import Trainer
from sklearn.metrics import accuracy_score, f1_score, log_loss, roc_auc_score
from timm.optim import param_groups_weight_decay
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader

from tltool.data.datamodules.image_folder import ImageFolderDataModule
from tltool.features.extraction import extract_features
from tltool.finetuning.strategies import LinearProbe
from tltool.models.backbone import Backbone
from tltool.models.heads import Head
from tltool.training.callbacks.finetuning import Finetuning
from tltool.training.image_task import ImageTask
from tltool.training.metrics import PresentClassesAUROC, stage_metrics


def make_task(**kwargs):
    torch.manual_seed(0)
    return ImageTask(Backbone("test_resnet", weights="random"), num_classes=3, **kwargs)


def make_loader(num_images=20, batch_size=8):
    generator = torch.Generator().manual_seed(1)
    items = [
        {"images": torch.randn(3, 32, 32, generator=generator), "labels": i % 3, "paths": str(i)}
        for i in range(num_images)
    ]
    return DataLoader(items, batch_size=batch_size)


def make_trainer(**kwargs):
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    return Trainer(accelerator="cpu", enable_checkpointing=False, **quiet, **kwargs)


@pytest.fixture(scope="module")
def validated():
    """Metrics of a validation with an uneven last batch, its labels and its probabilities."""
    task, loader = make_task().eval(), make_loader(num_images=21, batch_size=8)
    (metrics,) = make_trainer().validate(task, loader, verbose=False)
    labels = torch.cat([batch["labels"] for batch in loader])
    with torch.no_grad():
        probabilities = torch.cat([task(batch["images"]).softmax(1) for batch in loader]).double()
    return metrics, labels, probabilities / probabilities.sum(1, keepdim=True)


def test_sgd_equals_a_hand_written_loop_of_mini_batch_sgd_to_the_last_bit():
    task = make_task(optimizer=partial(torch.optim.SGD, lr=0.05))
    backbone, head = copy.deepcopy(task.backbone), copy.deepcopy(task.head)
    batches = list(make_loader(num_images=80, batch_size=4))
    make_trainer(max_epochs=1).fit(task, make_loader(num_images=80, batch_size=4), make_loader())
    parameters = [*backbone.parameters(), *head.parameters()]
    for batch in batches:  # 20 steps: sample, forward to the loss, backward, update.
        loss = functional.cross_entropy(head(backbone(batch["images"])), batch["labels"])
        gradients = torch.autograd.grad(loss, parameters)
        with torch.no_grad():
            for parameter, gradient in zip(parameters, gradients, strict=True):
                parameter.add_(gradient, alpha=-0.05)
    trained = [*task.backbone.parameters(), *task.head.parameters()]
    assert len(batches) == 20
    assert all(torch.equal(a, b) for a, b in zip(trained, parameters, strict=True))


def test_validation_metrics_over_an_uneven_last_batch_equal_scikit_learns(validated):
    metrics, labels, probabilities = validated
    predicted = probabilities.argmax(1)
    assert metrics["val/loss"] == pytest.approx(log_loss(labels, probabilities), abs=1e-5)
    assert metrics["val/accuracy"] == pytest.approx(accuracy_score(labels, predicted))
    assert metrics["val/f1"] == pytest.approx(f1_score(labels, predicted, average="macro"))


def test_the_calibration_error_is_the_mean_gap_over_15_bins(validated):
    metrics, labels, probabilities = validated
    confidence, predicted = probabilities.max(1)
    bins = (confidence * 15).ceil()
    gaps = [
        (bins == b).double().mean()
        * ((predicted == labels)[bins == b].double().mean() - confidence[bins == b].mean()).abs()
        for b in bins.unique()
    ]
    assert metrics["val/calibration_error"] == pytest.approx(float(sum(gaps)), abs=1e-5)


def test_cached_features_give_the_logits_of_their_images():
    task = make_task().eval()
    images = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(task.logits({"features": task.backbone(images)}), task(images))


def test_label_smoothing_is_pytorchs():
    task = make_task(label_smoothing=0.3).eval()
    batch = next(iter(make_loader()))
    expected = functional.cross_entropy(task(batch["images"]), batch["labels"], label_smoothing=0.3)
    torch.testing.assert_close(task.training_step(batch, 0), expected)


def test_all_parameters_are_in_the_optimizer_once():
    task = make_task()
    held = [id(p) for group in task.configure_optimizers().param_groups for p in group["params"]]
    assert sorted(held) == sorted(id(p) for p in task.parameters())


def test_biases_and_norms_get_no_weight_decay():
    task = make_task(optimizer=partial(torch.optim.AdamW, weight_decay=0.5))
    groups = task.configure_optimizers().param_groups
    decayed = {p.ndim for group in groups if group["weight_decay"] for p in group["params"]}
    assert decayed == {2, 4}
    assert {group["weight_decay"] for group in groups} == {0.0, 0.5}


@pytest.mark.parametrize("name", ["xcit_nano_12_p16_224", "test_vit"])
def test_the_backbone_decays_what_it_decays_in_timm(name):
    task = ImageTask(Backbone(name, weights="random"), num_classes=2)
    model = task.backbone.model
    reference = param_groups_weight_decay(model, 0.1, no_weight_decay_list=model.no_weight_decay())
    expected = {id(p) for group in reference if group["weight_decay"] for p in group["params"]}
    groups = [g for g in task.configure_optimizers().param_groups if g["name"] != "head"]
    assert {id(p) for g in groups if g["weight_decay"] for p in g["params"]} == expected


def test_an_optimizers_own_weight_decay_is_kept():
    groups = make_task(optimizer=torch.optim.AdamW).configure_optimizers().param_groups
    assert {group["weight_decay"] for group in groups} == {0.0, 0.01}


@pytest.mark.parametrize(
    ("optimizer", "message"),
    [
        (torch.optim.LBFGS, "Choose another"),
        (torch.optim.Muon, "Choose another"),
        (torch.optim.SparseAdam, "Use Adam"),
    ],
)
def test_an_optimizer_that_cannot_train_it_is_refused(optimizer, message):
    with pytest.raises(ValueError, match=message):
        make_task(optimizer=optimizer).configure_optimizers()


def test_a_head_that_cannot_say_how_it_was_made_is_refused():
    with pytest.raises(TypeError, match=r"decorate the class with tltool\.serializable"):
        make_task(head=lambda *sizes: nn.Linear(*sizes, bias=False))


def test_one_class_is_refused():
    with pytest.raises(ValueError, match="`num_classes` must be at least 2"):
        ImageTask(Backbone("test_resnet", weights="random"), num_classes=1)


def test_class_names_must_fit_the_number_of_classes():
    with pytest.raises(ValueError, match="2 `class_names` for 3"):
        make_task(class_names=["a", "b"])


@pytest.mark.parametrize("head", [Head, partial(Head, hidden_features=[8], norm="batch")])
def test_a_checkpoint_alone_rebuilds_the_task(tmp_path, head):
    task = make_task(head=head, class_names=["a", "b", "c"])
    trainer = make_trainer(max_epochs=1)
    trainer.fit(task, make_loader(), make_loader())
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    loaded = ImageTask.load_from_checkpoint(tmp_path / "last.ckpt")
    images = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(loaded(images), task.eval()(images), rtol=0, atol=0)
    assert loaded.class_names == ["a", "b", "c"]


def test_load_from_checkpoint_needs_nothing_else(tmp_path):
    trainer = make_trainer(max_epochs=1)
    trainer.fit(make_task(), make_loader(), make_loader())
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    assert isinstance(ImageTask.load_from_checkpoint(tmp_path / "last.ckpt"), ImageTask)


def test_a_rebuilt_task_does_not_know_the_weights_that_training_began_with():
    task = make_task()
    assert ImageTask.rebuilt(task.task_config, task.state_dict()).backbone.loaded_hash is None


def test_a_task_of_another_version_is_refused_with_what_to_do():
    task = make_task()
    with pytest.raises(ValueError, match=r"makes its ImageTask with focal, .* Another version"):
        ImageTask.rebuilt({**task.task_config, "focal": 2.0}, task.state_dict())


def test_a_file_of_another_tool_is_refused(tmp_path):
    torch.save({"state_dict": {}}, tmp_path / "other.ckpt")
    with pytest.raises(ValueError, match="is no checkpoint of tltool"):
        ImageTask.load_from_checkpoint(tmp_path / "other.ckpt")


@pytest.mark.parametrize("name", ["best", "last"])
def test_a_missing_checkpoint_is_an_error_with_an_example(name):
    with pytest.raises(
        FileNotFoundError, match=f"no checkpoint '{name}'. Name a file, for example"
    ):
        ImageTask.load_from_checkpoint(name)


def test_auroc_equals_scikit_learns(validated):
    metrics, labels, probabilities = validated
    expected = roc_auc_score(labels, probabilities, multi_class="ovr", average="macro")
    assert metrics["val/auroc"] == pytest.approx(expected, abs=1e-6)


def test_auroc_leaves_out_a_class_without_images():
    metric = PresentClassesAUROC(3)
    metric.update(torch.tensor([[0.8, 0.1, 0.1], [0.2, 0.7, 0.1]]), torch.tensor([0, 1]))
    assert float(metric.compute()) == 1.0


def test_top5_accuracy_is_there_from_six_classes_on():
    names = [set(stage_metrics(n, "val").keys()) for n in (5, 6)]
    assert names[1] - names[0] == {"val/top5_accuracy"}


def test_class_weights_multiply_the_loss_of_each_image_in_training_alone():
    task = make_task(class_weights=[1.0, 2.0, 4.0]).eval()
    batch = next(iter(make_loader()))
    logits, labels = task(batch["images"]), batch["labels"]
    losses = functional.cross_entropy(logits, labels, reduction="none")
    weighted = losses * torch.tensor([1.0, 2.0, 4.0])[labels]
    torch.testing.assert_close(task._step(batch, "train")[0], weighted.mean())
    torch.testing.assert_close(
        task._step(batch, "val")[0], functional.cross_entropy(logits, labels)
    )


def test_balanced_class_weights_need_the_counts():
    with pytest.raises(ValueError, match=r"class_counts=data.train_class_counts"):
        make_task(class_weights="balanced")


@pytest.mark.parametrize("head", [Head, partial(Head, hidden_features=[8])])
def test_with_the_log_prior_the_first_loss_is_the_label_entropy(head):
    task = make_task(head=head, log_prior=True, class_counts=[5, 3, 2]).eval()
    labels = torch.tensor([0] * 5 + [1] * 3 + [2] * 2)
    shares = torch.tensor([0.5, 0.3, 0.2])
    loss, _ = task._step({"images": torch.randn(10, 3, 32, 32), "labels": labels}, "val")
    assert float(loss.detach()) == pytest.approx(float(-(shares * shares.log()).sum()), abs=1e-5)


def test_mixed_images_train_on_shares_and_are_measured_by_the_larger_one():
    task = make_task().eval()
    shares = torch.tensor([[0.7, 0.3, 0.0], [0.0, 0.4, 0.6]])
    batch = {
        "images": torch.randn(2, 3, 32, 32),
        "labels": shares,
        "hard_labels": torch.tensor([0, 2]),
    }
    logits = task(batch["images"])
    loss, _ = task._step(batch, "train")
    torch.testing.assert_close(loss, functional.cross_entropy(logits, shares))
    expected = float((logits.argmax(1) == batch["hard_labels"]).float().mean())
    assert float(task.train_metrics["accuracy"].compute()) == expected


@pytest.mark.parametrize("input_norm", ["center", "standardize", "whiten"])
def test_an_input_norm_is_fitted_on_the_training_features_before_training(images, input_norm):
    torch.manual_seed(0)
    backbone = Backbone("test_resnet", weights="random", img_size=32)
    data = ImageFolderDataModule(
        images, data_config=backbone.data_config, batch_size=8, num_workers=0
    )
    head = partial(Head, input_norm=input_norm)
    task = ImageTask(backbone, head, num_classes=2)
    make_trainer(max_epochs=1, callbacks=[Finetuning(LinearProbe())]).fit(task, data)
    features, _ = extract_features(
        task.backbone, data.evaluation_dataloader("train"), description=""
    )
    normalized = task.head.input_norm(features)
    torch.testing.assert_close(normalized.mean(0), torch.zeros(96), rtol=0, atol=1e-4)


def test_an_input_norm_without_a_datamodule_says_what_to_call():
    task = make_task(head=partial(Head, input_norm="standardize"))
    with pytest.raises(ValueError, match=r"Call task.head.input_norm.fit_\(features\) first"):
        make_trainer(max_epochs=1).fit(task, make_loader(), make_loader())


def make_data(images, **kwargs):
    config = Backbone("test_resnet", weights="random", img_size=32).data_config
    return ImageFolderDataModule(images, data_config=config, num_workers=0, batch_size=8, **kwargs)


def test_a_task_takes_the_preprocessing_of_its_images_into_the_checkpoint(images, tmp_path):
    data = make_data(images, preprocessing="dataset")
    task = ImageTask(Backbone("test_resnet", weights="random", img_size=32), num_classes=2)
    trainer = make_trainer(max_epochs=1)
    trainer.fit(task, data)
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    loaded = ImageTask.load_from_checkpoint(tmp_path / "last.ckpt")
    assert loaded.data_config == data.resolved_data_config()


@pytest.mark.parametrize("stage", ["fit", "validate"])
def test_images_with_another_preprocessing_than_the_task_are_refused(images, stage):
    data = make_data(images, preprocessing="none")
    backbone = Backbone("test_resnet", weights="random", img_size=32)
    task = ImageTask(backbone, num_classes=2, data_config=backbone.data_config)
    with pytest.raises(ValueError, match=r"mean is .* Leave `data_config` of ImageTask out"):
        getattr(make_trainer(max_epochs=1), stage)(task, datamodule=data)


def test_a_penalized_backbone_has_no_weight_decay_and_the_head_keeps_it():
    groups = make_task(l2_sp=0.1).configure_optimizers().param_groups
    decays = {group["name"]: group["weight_decay"] for group in groups}
    assert decays.pop("head") == 0.05
    assert set(decays.values()) == {0.0}


def test_the_penalty_is_part_of_the_loss_that_is_minimized():
    task, (batch, *_) = make_task(l2_sp=0.1), make_loader()
    task.training_step(batch, 0)
    task.backbone.model.layer1[0].conv1.weight.data += 1.0
    task.train_metrics.reset()
    total = task.training_step(batch, 0).item()
    loss = task.train_metrics.compute()["train/loss"].item()
    moved = task.backbone.model.layer1[0].conv1.weight.numel()
    assert total - loss == pytest.approx(0.1 / 2 * moved, rel=1e-3)


def test_another_training_starts_its_penalty_anew():
    task = make_task(l2_sp=0.1, optimizer=partial(torch.optim.SGD, lr=0.1))
    make_trainer(max_epochs=1).fit(task, make_loader(), make_loader())
    assert task.l2_sp(task.backbone) > 0
    again = make_trainer(max_epochs=1, max_steps=0)
    again.fit(task, make_loader(), make_loader())
    assert task.l2_sp(task.backbone) == 0


def test_a_crop_area_without_random_crops_is_warned_of(images, caplog):
    task = ImageTask(Backbone("test_resnet", weights="random", img_size=32), num_classes=2)
    options = {"crop_area": 0.3, "augmentation": "flip", "num_workers": 0, "batch_size": 4}
    data = ImageFolderDataModule(images, data_config=task.backbone.data_config, **options)
    make_trainer(max_steps=0).fit(task, data)
    assert "flip takes no random crops. Set --data.augmentation crop." in caplog.text
