"""Lightning callback that keeps the bits of a few steps of each epoch, to replay them later."""

import platform
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from tltool.training.step_records import (
    NamedStep,
    StepRecord,
    config_digest,
    has_inputs,
    input_digests,
    weight_digests,
)

STEPS = 3
"""How many steps of each epoch are kept, from its first on."""
_MOST = 60 * STEPS  # the newest of them


class StepTrace(Callback):
    """Keep the weights in front of the first steps of each epoch, what they read, and their losses.

    They are digests in the state of this callback, so that checkpoints hold them; `tltool verify`
    resumes an earlier one and compares. Of several ranks these are the first one's. It stands
    behind `Finetuning`, and in front of what saves checkpoints.

    Args:
        config: The configuration, as plain data; nothing where a run is started from Python.
    """

    def __init__(self, config: Mapping[str, Any] | None = None) -> None:
        self._config = config_digest(config or {})
        #: The kept steps: those of the start, and the newest.
        self.steps: list[StepRecord] = []
        #: What they ran on, by name.
        self.machine: dict[str, Any] = {}
        #: The steps of this process, with names for what is in them.
        self.named: list[NamedStep] = []
        self._begun: NamedStep | None = None

    def state_dict(self) -> dict[str, Any]:
        """Return the steps as plain data."""
        return {"steps": [step.plain for step in self.steps], "machine": self.machine}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over the steps of the run that is resumed."""
        self.steps = [StepRecord(**step) for step in state_dict["steps"]]

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note what the steps run on."""
        self.machine = describe_machine(trainer.strategy.root_device)
        self.named, self._begun = [], None

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Look at the weights, and at what the step reads."""
        self._begun = None
        if batch_idx >= STEPS or not (isinstance(batch, Mapping) and has_inputs(batch)):
            return
        weights = weight_digests(pl_module)
        record = StepRecord(
            epoch=trainer.current_epoch,
            step=trainer.global_step,
            batch=batch_idx,
            config=self._config,
            weights="".join(weights.values()),
            inputs="".join(input_digests(batch)),
        )
        images = batch.get("paths") or [f"image {place}" for place in range(len(batch["labels"]))]
        self._begun = NamedStep(record, images, list(weights))

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Keep the step, with its loss."""
        if self._begun is None or not (isinstance(outputs, Mapping) and "loss" in outputs):
            return
        record = replace(self._begun.record, loss=float(outputs["loss"]).hex())
        self.named.append(replace(self._begun, record=record))
        self.steps = [*self.steps[:STEPS], *self.steps[STEPS:][1 - _MOST :], record]


def describe_machine(device: torch.device) -> dict[str, Any]:
    """Return what decides the last bits of a result beside code and data."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    threads = torch.get_num_threads()
    return {"device": name, "threads": threads, "python": platform.python_version()}
