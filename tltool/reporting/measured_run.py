"""A run with what was measured of it afterwards: predictions, phases, verdict."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from PIL.Image import Image

from tltool.data.files.decoding import decode_image
from tltool.data.loading.image_dataset import Decoder
from tltool.evaluation.feature_map import FeatureMap
from tltool.evaluation.measured_split import MeasuredSplit
from tltool.finetuning.plan import Plan
from tltool.reporting.run_record import CURVES, RunRecord
from tltool.reporting.run_verdict import Verdict, judge_run
from tltool.reporting.tables import FactTable


@dataclass(frozen=True)
class MeasuredRun:
    """A run with what was found out about it afterwards.

    Attributes:
        record: What lies in its run directory.
        plan: Its phases in numbers, or the sentence that says why they are not known.
        evaluation: Its predictions; ``None`` where there are none.
        card: What it is, see `run_card`; ``None`` without a checkpoint.
        overlays: Images with what speaks for the predicted class, by their number in the split.
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
    card: FactTable | None = None
    missing: list[str] = field(default_factory=list)
    overlays: Mapping[int, Image] = field(default_factory=dict)

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
        best, name = self.record.best_epoch, self.record.monitor_words
        return "" if best is None else f"The best validation {name} was in epoch {best + 1}."

    @property
    def phase_starts(self) -> dict[str, float]:
        """The epoch in front of which each phase begins, by its name."""
        plan = self.plan
        if not isinstance(plan, Plan):
            return {}
        return {each.phase.name: each.span.start / plan.steps_per_epoch for each in plan.phases}

    @property
    def baseline_levels(self) -> dict[str, dict[str, float]]:
        """The score of the strongest baseline, by its name, by the label of the metric in `CURVES`.

        A weak one, far below, would leave no room for the curves.
        """
        found = self.evaluation
        if found is None or not found.baselines:
            return {}
        label = CURVES.get(self.record.monitor.removeprefix("val/"), "")
        images = "" if found.split == "val" else f", {found.split} images"
        name = list(found.baselines)[-1]  # The probe, if it was fitted.
        score = {f"{name}{images}": found.results[name].value}
        return {label: score} if label == found.score.name else {}
