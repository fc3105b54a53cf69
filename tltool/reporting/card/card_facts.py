"""Facts of a model card: what a checkpoint and its run directory say of an exported model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tltool.evaluation.measured_split import MeasuredSplit
from tltool.reporting.card.licenses import Licenses
from tltool.reporting.run_record import RunRecord
from tltool.training.callbacks.ending_files import ENDING, is_unchosen
from tltool.training.image_task import ImageTask


@dataclass(frozen=True)
class CardFacts:
    """What is known of an exported model.

    Attributes:
        name: Of the file or folder.
        to: The format.
        task: What was exported.
        checkpoint: What the checkpoint holds beside the weights.
        licenses: Of weights and data.
        config: The configuration in short YAML; empty where it is not known.
        evaluation: Its predictions on the images that measure it; ``None`` where there are none.
        record: What lies in the run directory; ``None`` without one.
        seconds: How long the run has taken; ``None`` where that is not known.
        lines: What the export has said: what was merged, and how far it is from the checkpoint.
        missing: What could not be found out and why, in sentences.
    """

    name: str
    to: str
    task: ImageTask
    checkpoint: Mapping[str, Any]
    licenses: Licenses
    config: str = ""
    evaluation: MeasuredSplit | None = None
    record: RunRecord | None = None
    seconds: float | None = None
    lines: Sequence[str] = ()
    missing: Sequence[str] = field(default_factory=list)

    @property
    def run_facts(self) -> Mapping[str, Any]:
        """Versions, commit, images and ranks of the training; empty where they were not kept."""
        facts: Mapping[str, Any] = self.checkpoint.get("run_facts", {})
        return facts

    @property
    def num_images(self) -> dict[str, int]:
        """The number of images of each split that the run has seen."""
        return {split: len(names) for split, names in self.run_facts.get("images", {}).items()}

    @property
    def data(self) -> Mapping[str, Any]:
        """The section ``data`` of the configuration."""
        section: Mapping[str, Any] = self.checkpoint.get("config", {}).get("data", {})
        return section

    @property
    def temperature(self) -> float:
        """What divides the logits in front of calibrated probabilities; 1 for nothing."""
        return float(self.checkpoint.get("calibration", {}).get("temperature", 1))

    @property
    def has_chosen(self) -> bool:
        """Whether the images that measure the model have chosen its weights too."""
        is_val = self.evaluation is not None and self.evaluation.split == "val"
        return is_val and not is_unchosen(self.checkpoint.get(ENDING, {}))

    @property
    def data_name(self) -> str:
        """The data in a word: the data set, the folder, or the kind of data."""
        arguments = self.data.get("init_args") or {}
        keys = ("name", "manifest", "root")
        named = next((arguments[key] for key in keys if arguments.get(key)), "")
        kind = str(self.data.get("class_path", "")).rpartition(".")[2]
        return str(named).rstrip("/").rpartition("/")[2] or kind or "unknown"
