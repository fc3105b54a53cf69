"""A run with what was measured of it afterwards: predictions, phases, verdict."""

from dataclasses import dataclass, field
from typing import Literal

from tltool.data.files.decoding import decode_image
from tltool.data.loading.image_dataset import Decoder
from tltool.evaluation.feature_map import FeatureMap
from tltool.evaluation.measured_split import MeasuredSplit
from tltool.finetuning.plan import Plan
from tltool.reporting.run_record import CURVES, RunRecord
from tltool.reporting.run_verdict import Verdict, judge_run


@dataclass(frozen=True)
class MeasuredRun:
    """A run with what was found out about it afterwards.

    Attributes:
        record: What lies in its run directory.
        plan: Its phases in numbers, or the sentence that says why they are not known.
        evaluation: Its predictions; ``None`` where there are none.
        missing: What could not be found out and why, in sentences.
        feature_map: Where the features of these images lie; ``None`` where that was not measured.
        measured: Which checkpoint the predictions are of, in words.
        decode: Makes an image from a path.
        mode: Of the images.
        epochs_done: Epochs that were trained, with a begun one as a fraction.
        has_ended: Whether a metric ended its last phase.
    """

    record: RunRecord
    plan: Plan | str
    evaluation: MeasuredSplit | None = None
    feature_map: FeatureMap | None = None
    measured: str = ""
    decode: Decoder = decode_image
    mode: Literal["L", "RGB"] = "RGB"
    epochs_done: float = 0
    has_ended: bool = False
    missing: list[str] = field(default_factory=list)

    @property
    def verdict(self) -> Verdict:
        """What it achieved; the alarms among the reasons."""
        verdict = judge_run(self.record, self.evaluation, ended=self.has_ended)
        if causes := ", ".join(alarm["cause"] for alarm in self.record.alarms):
            verdict.reasons.append(
                f"\N{WARNING SIGN} Alarms, with suggested fixes below: {causes}."
            )
        return verdict

    @property
    def title(self) -> str:
        """The title of a report on it."""
        return f"tltool: {self.name}"

    @property
    def name(self) -> str:
        """Its run directory in short."""
        return f"{self.record.run_dir.parent.name}/{self.record.run_dir.name}"

    @property
    def best_epoch(self) -> str:
        """The sentence that says which epoch was best; empty where no validation chose one."""
        best, name = self.record.best_epoch, CURVES[self.record.monitor]
        return "" if best is None else f"The best validation {name} was in epoch {best + 1}."
