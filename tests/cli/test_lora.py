"""A run with adapters: what trains, what its checkpoint needs, and what is left of it alone."""

import os

import pytest
import timm
import torch
import yaml
from safetensors.torch import save_file

import tltool
from tltool.__main__ import main
from tltool.training.checkpoint_io import read_checkpoint
from tltool.training.image_task import ImageTask

LORA = ["--finetuning", "LoRA", "--finetuning.rank", "4", "--finetuning.batch_norm", "train"]


def words(folder, images):
    return [
        *("--data.root", str(images), "--runs_dir", str(folder / "runs")),
        *("--model.backbone.name", "test_resnet", "--model.backbone.img_size", "32"),
        *("--model.backbone.weights", str(folder / "base.safetensors")),
        *("--data.batch_size", "8", "--data.num_workers", "0", "--trainer.accelerator", "cpu"),
        *("--optimizer.init_args.lr", "0.01", "--model.l2_sp", "0.1"),
    ]


@pytest.fixture(scope="module")
def folder(tmp_path_factory, images):
    """Pretrained weights, and a run of two epochs with adapters and L2-SP on them."""
    folder = tmp_path_factory.mktemp("lora")
    torch.manual_seed(0)
    save_file(timm.create_model("test_resnet").state_dict(), folder / "base.safetensors")
    given = [*words(folder, images), *LORA, "--trainer.max_epochs", "2"]
    assert main(["fit", *given]) == 0
    return folder


@pytest.fixture
def last(folder):
    return folder / "runs" / "images" / "0" / "checkpoints" / "last.ckpt"


@pytest.fixture
def task(last):
    return ImageTask.load_from_checkpoint(last)


@pytest.fixture
def batch():
    return torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))


@torch.no_grad()
def trained_names(task, folder):
    base = tltool.Backbone(
        "test_resnet", str(folder / "base.safetensors"), img_size=32
    ).state_dict()
    own = dict(task.backbone.named_parameters())
    return {n for n, p in own.items() if n not in base or not torch.equal(p, base[n])}


def test_adapters_alone_have_trained_in_the_backbone(task, folder):
    names = trained_names(task, folder)
    assert {name.rpartition(".")[2] for name in names} == {"lora_a", "lora_b"}
    assert any(p.any() for n, p in task.named_parameters() if n.endswith("lora_b"))


def test_the_checkpoint_says_that_there_are_adapters(last):
    config = torch.load(last, weights_only=True)["task_config"]
    edits = [{"add_lora": {"rank": 4, "alpha": 16.0, "only": "*"}}]
    assert config["backbone"]["init_args"]["surgery"] == edits


def test_the_configuration_of_a_run_makes_the_same_run(folder, images, tmp_path):
    config = folder / "runs" / "images" / "0" / "config.yaml"
    assert main(["plan", "--config", str(config)]) == 0


def test_the_penalty_is_logged(folder):
    text = (folder / "runs" / "images" / "0" / "metrics.csv").read_text()
    assert "train/penalty" in text.splitlines()[0]


@torch.no_grad()
def test_a_merged_task_gives_the_same_logits(task, batch):
    expected = task(batch)
    tltool.merge_adapters(task)
    torch.testing.assert_close(task(batch), expected, rtol=0, atol=1e-5)


@torch.no_grad()
def test_a_checkpoint_of_a_merged_task_needs_no_adapters(task, batch, tmp_path):
    tltool.merge_adapters(task)
    checkpoint = {"state_dict": task.state_dict(), "task_config": task.task_config}
    torch.save(checkpoint, tmp_path / "merged.ckpt")
    loaded = ImageTask.load_from_checkpoint(tmp_path / "merged.ckpt")
    assert not any("lora" in name for name in loaded.state_dict())
    assert torch.equal(loaded(batch), task(batch))


@torch.no_grad()
def test_adapters_alone_are_small_and_load_onto_the_pretrained_weights(last, task, batch, tmp_path):
    path = tltool.save_adapters(last, tmp_path / "adapters.safetensors")
    assert os.path.getsize(path) < 0.2 * os.path.getsize(last)
    assert torch.equal(tltool.load_adapters(path)(batch), task(batch))


def test_a_file_of_adapters_stands_for_its_checkpoint(last, images, run_tltool, tmp_path):
    tltool.save_adapters(last, tmp_path / "adapters.safetensors")
    for checkpoint in (last, "adapters.safetensors"):
        given = ["--ckpt_path", checkpoint, "--data.root", images, "--output", f"{checkpoint}.csv"]
        status, _, err = run_tltool("predict", *given)
        assert status == 0, err
    assert (tmp_path / "adapters.safetensors.csv").read_text() == (
        last.with_name("last.ckpt.csv").read_text()
    )


def test_a_file_of_adapters_keeps_the_temperature(last, tmp_path):
    checkpoint = read_checkpoint(last)
    checkpoint["calibration"] = {"temperature": 1.5, "split": "val", "num_images": 60}
    torch.save(checkpoint, tmp_path / "calibrated.ckpt")
    tltool.save_adapters(tmp_path / "calibrated.ckpt", tmp_path / "adapters.safetensors")
    assert tltool.load(tmp_path / "adapters.safetensors").temperature == 1.5
    assert tltool.load_adapters(tmp_path / "adapters.safetensors").calibration.temperature == 1.5


def test_a_file_of_adapters_keeps_the_split(last, tmp_path):
    path = tltool.save_adapters(last, tmp_path / "adapters.safetensors")
    before, found = read_checkpoint(last), read_checkpoint(path)
    images = found["run_facts"]["images"]
    assert found["split"] == {"seed": 0, "val_fraction": 0.2}
    assert images.keys() == before["run_facts"]["images"].keys()
    assert all(map(torch.equal, images.values(), before["run_facts"]["images"].values()))


def test_adapters_of_other_pretrained_weights_are_refused(last, tmp_path):
    path = tltool.save_adapters(last, tmp_path / "adapters.safetensors")
    other = tmp_path / "other.safetensors"
    save_file(timm.create_model("test_resnet").state_dict(), other)
    with pytest.raises(ValueError, match="belong to other weights of test_resnet than"):
        tltool.load_adapters(path, weights=str(other))


def test_a_training_is_not_resumed_from_adapters_alone(last, folder, images, run_tltool, tmp_path):
    path = tltool.save_adapters(last, tmp_path / "adapters.safetensors")
    status, _, err = run_tltool("fit", *words(folder, images), *LORA, "--ckpt_path", path)
    assert status == 1
    assert "Name a checkpoint to resume from, such as last.ckpt" in err


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (["--finetuning.rank", "2"], "finetuning.init_args.rank was 4 and is 2"),
        (["--finetuning.alpha", "8"], "finetuning.init_args.alpha was 16.0 and is 8.0"),
        (["--finetuning.only", "layer4.*"], "finetuning.init_args.only was '*' and is 'layer4.*'"),
        (["--finetuning.num_groups", "1"], "model.backbone.init_args.surgery was"),
        (["--finetuning", "FullFinetuning"], "model.backbone.init_args.surgery was"),
    ],
)
def test_a_run_is_not_resumed_with_other_adapters(
    last, folder, images, run_tltool, changed, message
):
    given = [*words(folder, images), *LORA, *changed, "--ckpt_path", last]
    status, _, err = run_tltool("fit", *given, "--trainer.max_epochs", "3")
    assert status == 1
    assert message in err


def test_weights_with_adapters_are_merged_before_another_training(last, folder, images, run_tltool):
    given = [*words(folder, images), "--model.backbone.weights", last]
    status, _, err = run_tltool("fit", *given)
    assert status == 1
    assert "adapters beside them, as LoRA leaves them. Merge these first" in err


def test_a_dumped_plan_keeps_the_adapters(folder, images, run_tltool, tmp_path):
    given = [*words(folder, images), "--trainer.max_epochs", "2"]
    status, out, err = run_tltool("plan", *given, *LORA, "--dump")
    assert status == 0, err
    (tmp_path / "dump.yaml").write_text(out)
    assert yaml.safe_load(out)["model"]["backbone"]["surgery"][0]["add_lora"]["rank"] == 4
    status, out, err = run_tltool("plan", *given, "--config", "dump.yaml")
    assert status == 0, err
    assert "Added LoRA of rank 4" in out
