"""Edited layers: whether those that surgery has changed get to train."""

from collections.abc import Iterator
from typing import Any

from tltool.diagnostics.checks.check_result import Check, CheckResult
from tltool.finetuning.frozen_edits import find_frozen_edits
from tltool.finetuning.schedule import Schedule

CHECK = Check("surgery")


def edited_layers_train(task: Any, schedule: Schedule) -> Iterator[CheckResult]:
    """Yield what edits of the backbone have damaged and phases do not train.

    Args:
        task: With a ``backbone`` and a ``head``.
        schedule: Resolved.

    Yields:
        Nothing where the backbone was not edited.
    """
    reports = getattr(task.backbone, "surgery_reports", [])
    frozen = find_frozen_edits(schedule, task)
    for edit in frozen:
        yield CHECK.problem("random" if edit.is_random else "unmatched", where=edit.where)
    if reports and not frozen:
        yield CHECK.ok(f"{' '.join(map(str, reports))} What was changed trains or is matched")
