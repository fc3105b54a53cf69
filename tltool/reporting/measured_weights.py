"""Which weights of a run were measured: best epoch, last epoch, or what its ending chose."""

from collections.abc import Mapping
from typing import Any

from tltool.reporting.run_record import RunRecord
from tltool.training.weight_blends import BEST


def describe_weights(run: RunRecord, checkpoint: Mapping[str, Any], *, score: str) -> str:
    """Return in a sentence what the checkpoint of a run holds, and what chose it.

    Args:
        run: The run.
        checkpoint: Its `RunRecord.checkpoint`, as it was read.
        score: What validation chose by, in words.
    """
    if not run.has_best:
        step = checkpoint["global_step"]
        return f"The last checkpoint, after {step:,} steps: no validation has chosen a best one."
    if run.holds_last:
        chose = "when it ended" if run.has_chosen else "nothing"
        return f"The last epoch, as the run asked for: the validation images chose {chose}."
    candidate = run.ending.get("candidate", BEST)
    if candidate != BEST:
        return f"The weights that the ending chose on the validation images: {candidate}."
    return f"The checkpoint with the best validation {score}."
