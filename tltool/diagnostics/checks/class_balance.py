"""Class balance: classes without images, with few of them, or of very different sizes."""

from collections.abc import Mapping, Sequence

from tltool.diagnostics.checks.check_result import Check, CheckResult, listed

#: A class with fewer training images can hardly be learned.
FEW = 5
#: Between the largest and the smallest class; accuracy then hides the small ones.
UNEVEN = 10

CHECK = Check("class balance")


def class_balance(
    counts: Mapping[str, Sequence[int]], class_names: Sequence[str], *, several: bool = False
) -> CheckResult:
    """Look at the number of images of each class.

    Args:
        counts: Number of images of each class, by split of the data; ``train`` is one of them.
        class_names: The classes, in the order of the counts.
        several: Whether an image may have several.

    Example:
        >>> class_balance({"train": [90, 3]}, ["ants", "bees"]).status
        'warning'
    """
    train = counts["train"]
    seen = describe_counts(train, class_names, several=several)
    for split, numbers in counts.items():
        empty = [name for name, count in zip(class_names, numbers, strict=True) if not count]
        if empty and split == "train":
            return CHECK.problem("none_to_train_on", seen=seen, names=listed(empty))
        if empty:
            return CHECK.problem("none_in_split", seen=seen, split=split, names=listed(empty))
    few = [name for name, count in zip(class_names, train, strict=True) if count < FEW]
    if few:
        return CHECK.problem("few", seen=seen, names=listed(few), smallest=min(train))
    if max(train) > UNEVEN * min(train):
        return CHECK.problem("uneven", seen=seen, ratio=max(train) / min(train))
    return CHECK.ok(seen)


def describe_counts(
    counts: Sequence[int], class_names: Sequence[str], *, several: bool = False
) -> str:
    """Return the counts in words, with the share of the largest class.

    Example:
        >>> describe_counts([3, 1], ["ants", "bees"])
        "2 classes of 1 to 3 training images; always saying 'ants' is right for 75 % of them"
    """
    total, largest = sum(counts), max(counts)
    sizes = " to ".join(f"{count:,}" for count in sorted({min(counts), largest}))
    if several:
        return f"{len(counts)} classes of {sizes} training images, of which some share images"
    majority = class_names[list(counts).index(largest)]
    return (
        f"{len(counts)} classes of {sizes} training images; always saying {majority!r} is right "
        f"for {100 * largest / max(total, 1):.0f} % of them"
    )
