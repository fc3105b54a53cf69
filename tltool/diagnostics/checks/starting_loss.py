"""Starting loss: does training begin with the loss of a network that knows nothing?"""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from tltool._objective import Objective
from tltool.diagnostics.checks.check_result import Check, CheckResult

#: Above the loss of a guess: logits of standard deviation 1, as weights that keep the variance give
#: them, cost a half, and bad luck with the draw a half more. A head that begins with more is sure
#: of wrong answers, and the first steps only take that back (Karpathy, 2019,
#: http://karpathy.github.io/2019/04/25/recipe/).
SURE = 1.5
#: From here on it is said why more than a guess is no harm: the half that those logits cost.
USUAL = 0.5
#: Times the loss of a guess. A random head tells two clear clusters apart in half of all draws, but
#: it is not that sure of it: with less it knows the labels already.
KNOWS = 0.1

_GUESS: dict[str, str] = {
    "single_label": "a guess among {num_classes} classes has ln {num_classes}",
    "multi_label": "a guess of .5 for each class has",
    "regression": "always saying the mean has",
}
_ABOVE = f"A random head is often above a guess; more than {SURE:g} above would be a warning"
CHECK = Check("loss at the start")


def starting_loss(
    logits: Tensor,
    labels: Tensor,
    loss_of: Callable[[Tensor, Tensor], Tensor],
    *,
    class_counts: Sequence[int] | None = None,
    objective: Objective = "single_label",
) -> CheckResult:
    """Compare the first loss with that of a guess: ln C, or the label entropy from a log prior.

    Args:
        logits: Of untrained images, ``(B, num_classes)``.
        labels: ``(B,)``.
        loss_of: The training loss of logits and labels.
        class_counts: Of the training images as an epoch draws them, where the head starts from
            them (``log_prior``).
        objective: What the labels are.

    Example:
        >>> from torch.nn.functional import cross_entropy
        >>> starting_loss(torch.zeros(4, 10), torch.arange(4), cross_entropy).found
        '2.303; a guess among 10 classes has ln 10 = 2.303'
    """
    num_classes = logits.shape[1]
    guess = torch.zeros_like(logits)
    words = _GUESS[objective].format(num_classes=num_classes)
    if class_counts is not None:
        guess = guess + logits.new_tensor(class_counts).log()
        words = "a guess by the class frequencies has the label entropy"
    found, expected = float(loss_of(logits, labels)), float(loss_of(guess, labels))
    seen = f"{found:.3f}; {words} = {expected:.3f}"
    if not math.isfinite(found):
        return CHECK.problem("not_finite", seen=seen)
    if found > expected + SURE:
        return CHECK.problem("high", seen=seen)
    if found < KNOWS * expected:
        return CHECK.problem("low", seen=seen)
    is_above = found > expected + USUAL
    return CHECK.ok(seen + (f". {_ABOVE}" if is_above else ""))
