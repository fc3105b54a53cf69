"""Images of a run, found again in data: its test images, and those that it was trained on."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from tltool.data.datamodules.labeled_images import SplitName
from tltool.data.loading.samples import Splits
from tltool.training.resume_facts import image_hashes, trained_on


def as_tested(splits: Splits, checkpoint: Mapping[str, Any]) -> Splits | None:
    """Return splits with the val images as test images, if the run of a checkpoint had them so.

    A run with a tuning split chooses by a part of its training images, and calls those of a folder
    ``val`` its test images. A command that knows the folder alone would call them ``val``.

    Args:
        splits: Of the data.
        checkpoint: As it was read; it keeps the `image_hashes` of its run.

    Returns:
        ``None`` where the run had other test images, or none.

    Example:
        >>> from tltool.data.loading.samples import Samples
        >>> train, val, test = (Samples([f"/images/{name}.jpg"]) for name in "abc")
        >>> checkpoint = {"run_facts": {"images": image_hashes(Splits(train, val, test))}}
        >>> found = as_tested(Splits(Samples([*train.paths, *val.paths]), test), checkpoint)
        >>> found.test.paths
        ['/images/c.jpg']
    """
    known = checkpoint.get("run_facts", {}).get("images", {})
    tested = known.get("test")
    if tested is None or splits.val is None or splits.test is not None:
        return None
    if set(image_hashes(splits, known)["val"].tolist()) != set(tested.tolist()):
        return None
    return replace(splits, val=None, test=splits.val)


def num_trained_on(splits: Splits, split: SplitName, checkpoint: Mapping[str, Any]) -> int:
    """Return how many images of a split have the names of images that a checkpoint has trained on.

    Args:
        splits: Of the data.
        split: Which of them measures.
        checkpoint: See `as_tested`.

    Example:
        >>> from tltool.data.loading.samples import Samples
        >>> before, now = Samples(["/images/a.jpg", "/images/b.jpg"]), Samples(["/images/b.jpg"])
        >>> checkpoint = {"run_facts": {"images": image_hashes(Splits(before))}}
        >>> num_trained_on(Splits(Samples(["/images/a.jpg"]), now), "val", checkpoint)
        1
    """
    learned = trained_on(checkpoint)
    if not len(learned):
        return 0
    found = image_hashes(splits, {"trained": learned})[split].tolist()
    return len(set(learned.tolist()) & set(found))
