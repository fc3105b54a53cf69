"""Calibration of a checkpoint: the temperature that was fitted at the end of its run."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from tltool.data.loading.samples import Splits
from tltool.evaluation.rejection import RejectionCurve
from tltool.training.resume_facts import image_marks

CALIBRATION = "calibration"  # The key of a checkpoint.
TRUST = "trust"  # Of its limits, see `tltool.inference.checkpoint_trust`.


@dataclass(frozen=True)
class Calibration:
    """What the probabilities of a checkpoint rest on.

    Attributes:
        temperature: Divides the logits; 1 changes nothing.
        split: The images that fitted it, as the run named them.
        num_images: How many they are.
        error_before: Their expected calibration error at temperature 1.
        error_after: The same at the temperature that other images of theirs fit.
        curve: Risk over coverage of these images at the temperature; ``None`` if not known.
        images: A number for each of them, see `image_marks`; empty if not known.
    """

    temperature: float = 1.0
    split: str = ""
    num_images: int = 0
    error_before: float = 0.0
    error_after: float = 0.0
    curve: RejectionCurve | None = None
    images: frozenset[int] = field(default=frozenset(), repr=False)

    @classmethod
    def of_checkpoint(cls, checkpoint: Mapping[str, Any]) -> "Calibration":
        """Return what a checkpoint says; without anything, a temperature of 1."""
        stored = checkpoint.get(CALIBRATION, {})
        if not stored:
            return cls()
        curve = stored.get("curve")
        known = {
            "curve": None if curve is None else RejectionCurve.from_state(curve),
            "images": frozenset(stored.get("images", ())),
        }
        return cls(**{**stored, **known})

    def state_dict(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {**asdict(self), "images": sorted(self.images)}

    def num_shared(self, splits: Splits, split: str) -> int:
        """Return how many images of a split have fitted the temperature."""
        samples = splits.by_name().get(split) if self.images else None
        marks = [] if samples is None else image_marks(samples).tolist()
        return len(self.images.intersection(marks))

    def describe(self, splits: Splits, split: str) -> str:
        """Return what the temperature rests on, and whether a split may report on it.

        Args:
            splits: The images of the data.
            split: Those that were measured.

        Returns:
            An empty text for a temperature of 1.

        Example:
            >>> print(Calibration(1.5, "val", 90, 0.12, 0.04).describe(Splits(), "test"))
            Its temperature of 1.50 was fitted on 90 other images.
        """
        if self.temperature == 1:
            return ""
        fitted = f"Its temperature of {self.temperature:.2f} was fitted on"
        shared = self.num_shared(splits, split)
        if not shared:
            return f"{fitted} {self.num_images:,} other images."
        return (
            f"{fitted} {shared:,} of these images, so they do not say what it is worth: on images "
            f"that did not fit it, the calibration error went from {self.error_before:.3f} to "
            f"{self.error_after:.3f}."
        )
