"""The layers that stay frozen for a whole fit, for what passes images as in evaluation."""

from tltool._module_state import restored_freezing
from tltool.data.datamodules.image_datamodule import ImageDataModule
from tltool.features.cut_search import find_cut
from tltool.features.frozen_front import FrozenFront
from tltool.finetuning.freeze import HEAD, set_trainable_
from tltool.finetuning.schedule import Schedule
from tltool.models.layer_groups import layer_groups
from tltool.training.image_task import ImageTask


def evaluation_front(
    task: ImageTask, schedule: Schedule, data: ImageDataModule, *, max_bytes: int
) -> FrozenFront | None:
    """Return the layers that the network before a fit and those behind it have in common.

    The probe in front of a fit sees all images as in evaluation, and so does what measures the
    result behind it. Where the activations of these layers are kept, the images are decoded once,
    and behind the fit the other layers alone run. The rows are of ``fp32``, so that nothing is
    rounded.

    Args:
        task: The task; it is left as it is.
        schedule: Of the fit.
        data: Its images.
        max_bytes: Largest size on the disk that the activations of all images may take.

    Returns:
        ``None`` where they would take more than that, the network has no cut, no group is frozen,
        there are several phases, or the head trains alone, whose features are kept.
    """
    phase, groups = schedule.phases[0], layer_groups(task)
    if len(schedule.phases) > 1 or set(phase.groups) in ({HEAD}, set(groups)):
        return None
    kinds = {group: phase.group_parameters(group) for group in phase.groups}
    with restored_freezing(task):
        set_trainable_(task, groups, kinds, batch_norm=phase.batch_norm)
        cut = find_cut(task.backbone)
        if isinstance(cut, str):
            return None
        front = FrozenFront(task.backbone, cut, "fp32")
    num_images = sum(len(samples) for samples in data.splits.by_name().values())
    return front if 4 * cut.size * num_images <= max_bytes else None
