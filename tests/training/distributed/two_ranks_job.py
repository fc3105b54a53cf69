"""What two gloo processes run for test_two_ranks.py: scenarios, with their results in files.

Usage: LOCAL_RANK=0 MASTER_PORT=... python two_ranks_job.py FOLDER SCENARIO...
"""

import os
import runpy
import sys
import warnings
from pathlib import Path
from typing import get_args

import torch
from lightning.pytorch import Callback, Trainer, seed_everything
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.strategies import ModelParallelStrategy
from torch.distributed.fsdp import fully_shard
from torch.utils.data import DataLoader, DistributedSampler

from tltool.finetuning.phase import BatchNormMode, Phase, Until
from tltool.training.callbacks import finetuning as callback
from tltool.training.callbacks.agreed_start import AgreedStart
from tltool.training.callbacks.checkpoints import LastCheckpoint
from tltool.training.callbacks.finetuning import Finetuning
from tltool.training.callbacks.same_run import SameRun

support = runpy.run_path(str(Path(__file__).parents[1] / "conftest.py"))
Task, Images, Phases, edit_ = (support[name] for name in ("Task", "Images", "Phases", "edit_"))

RANK = int(os.environ["LOCAL_RANK"])
FOLDER = Path(sys.argv[1])

PROBE_ALL_TOP = (
    Phase("probe", ("head",), epochs=1),
    Phase("all", ("*",), epochs=1),
    Phase("top", (-1, -2), epochs=1),
    Phase("again", ("*",)),
)


class Recorder(Callback):
    """Keep the weights after each step, and the bytes that DDP sums in a step."""

    def __init__(self):
        self.weights, self.bytes, self.buffers = [], [], []

    def on_train_batch_end(self, trainer, pl_module, *args):
        self.weights.append([p.detach().clone() for p in pl_module.parameters()])
        sizes = trainer.strategy.model._get_ddp_logging_data()["bucket_sizes"]
        self.bytes.append(sum(int(size) for size in sizes.split(",")))

    def on_validation_start(self, trainer, pl_module):  # The first batch brings those of rank 0.
        self.buffers.append([b.clone() for b in pl_module.buffers() if b.is_floating_point()])


def adam(groups):
    return torch.optim.AdamW(groups, lr=1e-3)


def fit(task, phases, *callbacks, ckpt_path=None, max_epochs=4, strategy="ddp"):
    seed_everything(RANK)  # Dropout differs between ranks.
    trainer = Trainer(
        max_epochs=max_epochs,
        accelerator="cpu",
        devices=2,
        strategy=strategy,
        use_distributed_sampler=False,  # Lightning's own would shuffle.
        logger=False,
        enable_checkpointing=any(isinstance(c, ModelCheckpoint) for c in callbacks),
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[Finetuning(Phases(*phases)), *callbacks],
    )
    sampler = DistributedSampler(Images(), num_replicas=2, rank=RANK, shuffle=False)
    loader = DataLoader(Images(), batch_size=2, sampler=sampler)
    trainer.fit(task, loader, loader, ckpt_path=ckpt_path, weights_only=True)
    return trainer


def unfreeze(name):
    task, recorder = Task(name, adam), Recorder()
    fit(task, PROBE_ALL_TOP, recorder)
    head = sum(p.numel() for p in task.head.parameters())
    total = sum(p.numel() for p in task.parameters())
    numbers = {"weights": recorder.weights, "bytes": recorder.bytes, "buffers": recorder.buffers}
    return numbers | {"head": head, "total": total}


def without_rebuilding():
    rebuild, callback._rebuild_reducer = callback._rebuild_reducer, lambda strategy, module: None
    try:
        fit(Task("test_resnet", adam), PROBE_ALL_TOP)
    except RuntimeError as error:
        return str(error)
    finally:
        callback._rebuild_reducer = rebuild


def another_schedule_on_one_rank():
    trains = ("head",) if RANK == 0 else ("head", "backbone.stem")
    try:
        fit(Task("test_resnet", adam), [Phase("probe", trains)], max_epochs=1)
    except RuntimeError as error:
        return str(error)


class Touch(Callback):
    """Change a weight on one rank behind the optimizer's back."""

    def on_train_batch_end(self, trainer, pl_module, *args):
        with torch.no_grad():
            pl_module.head[1].bias += RANK * 1e-6


def a_weight_changed_on_one_rank():
    try:
        fit(Task("test_resnet", adam), [Phase("probe", ("head",))], Touch(), max_epochs=1)
    except RuntimeError as error:
        return str(error)


class TouchAtUnfreeze(Touch):
    """Do it in front of a new wrapper, which would give rank 1 the weight of rank 0."""

    def on_train_batch_end(self, trainer, pl_module, *args):
        if trainer.global_step == 2:
            super().on_train_batch_end(trainer, pl_module, *args)


def a_weight_changed_before_an_unfreeze():
    phases = [Phase("probe", ("head",), steps=2), Phase("all", ("*",))]
    try:
        fit(Task("test_resnet", adam), phases, TouchAtUnfreeze(), max_epochs=1)
    except RuntimeError as error:
        return str(error)


def another_configuration_on_one_rank():
    same = SameRun({"data": {"root": f"images{RANK}"}, "name": None})
    try:
        fit(Task("test_resnet", adam), [Phase("probe", ("head",))], same, max_epochs=1)
    except ValueError as error:
        return str(error)


class StopAfter(Callback):
    def __init__(self, epochs):
        self.epochs = epochs

    def on_train_epoch_end(self, trainer, pl_module):
        trainer.should_stop = trainer.current_epoch + 1 >= self.epochs


def resume(name):
    def run(folder, *callbacks, **options):
        task = Task(name, adam, dropout=0.0)
        saves = ModelCheckpoint(FOLDER / name / folder, save_last=True, save_top_k=0)
        fit(task, PROBE_ALL_TOP, saves, *callbacks, **options)
        return [value.clone() for value in task.state_dict().values()]

    states = {"straight": run("straight")}
    for epochs in (1, 2, 3):
        run(f"{epochs}", StopAfter(epochs))
        path = FOLDER / name / f"{epochs}" / "last.ckpt"
        states[epochs] = run(f"{epochs}-resumed", ckpt_path=path)
    return states


class ShardedTask(Task):
    def configure_model(self):
        mesh = self.device_mesh["data_parallel"]
        for module in (*self.backbone.model.blocks, self.backbone.model, self.head):
            fully_shard(module, mesh=mesh)


def sharded():
    def run(folder, *callbacks, **options):
        task = ShardedTask("test_vit", adam, dropout=0.0)
        saves = ModelCheckpoint(FOLDER / "sharded" / folder, save_last=True, save_top_k=0)
        strategy = ModelParallelStrategy(
            data_parallel_size=2, tensor_parallel_size=1, save_distributed_checkpoint=distributed
        )
        fit(task, PROBE_ALL_TOP, saves, *callbacks, strategy=strategy, **options)
        return [parameter.full_tensor().detach() for parameter in task.parameters()]

    task = Task("test_vit", adam, dropout=0.0)
    fit(task, PROBE_ALL_TOP)
    weights = {"replicated": [parameter.detach() for parameter in task.parameters()]}
    for distributed in (True, False):
        weights[distributed, 0] = run(f"straight-{distributed}")
        for epochs in (1, 2, 3):
            run(f"{epochs}-{distributed}", StopAfter(epochs))
            path = FOLDER / "sharded" / f"{epochs}-{distributed}" / "last.ckpt"
            weights[distributed, epochs] = run(f"{epochs}-{distributed}-resumed", ckpt_path=path)
    return weights


class ShardedResNet(Task):
    def configure_model(self):
        mesh = self.device_mesh["data_parallel"]
        layers = [getattr(self.backbone.model, f"layer{number}") for number in (1, 2, 3, 4)]
        for module in (*layers, self.backbone.model, self.head):
            fully_shard(module, mesh=mesh)


class Statistics(Callback):
    """Keep the running statistics that a checkpoint behind each step would hold."""

    def __init__(self):
        self.steps = []

    def on_train_batch_end(self, trainer, pl_module, *args):
        buffers = pl_module.buffers()
        self.steps.append([b.clone() for b in buffers if b.is_floating_point()])


def batch_norm(mode, is_sharded):
    phases = [Phase("probe", ("head",), epochs=1), Phase("all", ("*",), batch_norm=mode)]

    def run(folder, *callbacks, **options):
        sharding = ModelParallelStrategy(data_parallel_size=2, tensor_parallel_size=1)
        options |= {"max_epochs": 3, "strategy": sharding if is_sharded else "ddp"}
        task = (ShardedResNet if is_sharded else Task)("test_resnet", adam, dropout=0.0)
        before = [buffer.clone() for buffer in task.buffers()]
        path, statistics = FOLDER / f"{mode} {is_sharded}" / folder, Statistics()
        saves = ModelCheckpoint(path, save_last=True, save_top_k=0)
        fit(task, phases, saves, statistics, *callbacks, **options)
        values = [getattr(p, "full_tensor", lambda p=p: p)().detach() for p in task.parameters()]
        names = [name for name, _ in task.named_parameters()]
        return {
            "weights": dict(zip(names, values, strict=True)),
            "statistics": [buffer.clone() for buffer in task.buffers()],
            "before": before,
            "steps": statistics.steps,
        }

    straight = run("straight")
    run("cut", StopAfter(2))
    path = FOLDER / f"{mode} {is_sharded}" / "cut" / "last.ckpt"
    return {"straight": straight, "resumed": run("resumed", ckpt_path=path)}


def batch_norms():
    modes = get_args(BatchNormMode)
    return {(mode, shards): batch_norm(mode, shards) for mode in modes for shards in (True, False)}


class Metric(Callback):
    """Log a metric that ranks see differently."""

    def on_validation_epoch_end(self, trainer, pl_module):
        value = [3, 1, 2, 2, 0, 0][trainer.current_epoch] if RANK == 0 else -trainer.current_epoch
        pl_module.log("metric", float(value))


class Names(Callback):
    def __init__(self):
        self.names = []

    def on_train_epoch_end(self, trainer, pl_module):
        self.names.append(trainer.callbacks[0].phase.name)


def a_metric_that_ranks_see_differently():
    until = Until("metric", max_epochs=5, patience=2)
    phases = [Phase("probe", ("head",), until=until), Phase("all", ("*",), start_from_best=True)]
    recorder, names = Recorder(), Names()
    fit(Task("test_resnet", adam), phases, Metric(), names, recorder, max_epochs=6)
    return {"names": names.names, "weights": recorder.weights}


def one_process_and_two(make):
    phases = [Phase("probe", ("head",), epochs=1), Phase("all", ("*",), warmup=0.2)]
    task = make()
    trainer = fit(task, phases, max_epochs=3)
    return {"weights": [p.detach() for p in task.parameters()], "steps": trainer.global_step}


def a_directory_that_rank_0_alone_knows():
    last = LastCheckpoint(FOLDER / f"run of {RANK}")
    fit(Task("test_resnet", adam), [Phase("probe", ("head",))], last, max_epochs=1)
    return str(last.path)


def a_checkpoint_that_rank_1_does_not_see():
    start = AgreedStart({"checkpoint": None if RANK else "last.ckpt"})
    try:
        fit(Task("test_resnet", adam), [Phase("probe", ("head",))], start, max_epochs=1)
    except ValueError as error:
        return str(error)


SCENARIOS = {
    "unfreeze resnet": lambda: unfreeze("test_resnet"),
    "unfreeze efficientnet": lambda: unfreeze("test_efficientnet"),
    "unfreeze vit": lambda: unfreeze("test_vit"),
    "resume resnet": lambda: resume("test_resnet"),
    "resume efficientnet": lambda: resume("test_efficientnet"),
    "resume vit": lambda: resume("test_vit"),
    "sharded": sharded,
    "batch norms": batch_norms,
    "without rebuilding": without_rebuilding,
    "another schedule": another_schedule_on_one_rank,
    "another configuration": another_configuration_on_one_rank,
    "a changed weight": a_weight_changed_on_one_rank,
    "a changed weight, then an unfreeze": a_weight_changed_before_an_unfreeze,
    "a directory": a_directory_that_rank_0_alone_knows,
    "a checkpoint": a_checkpoint_that_rank_1_does_not_see,
    "a metric": a_metric_that_ranks_see_differently,
    "one and two": lambda: one_process_and_two(lambda: Task("test_vit", dropout=0.0)),
    "one and two, edited": lambda: one_process_and_two(
        lambda: edit_(Task("test_resnet", dropout=0.0))
    ),
}


def main():
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    for scenario in sys.argv[2:]:
        torch.save(SCENARIOS[scenario](), FOLDER / f"{scenario} {RANK}.pt")


if __name__ == "__main__":
    main()
