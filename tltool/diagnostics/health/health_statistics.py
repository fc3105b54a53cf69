"""Statistics of activations, gradients, updates and batch norms: pure functions of tensors."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm


def as_rows(outputs: Tensor, unit_dim: int = -1) -> Tensor:
    """Return the inputs or outputs of a layer as rows of units.

    Args:
        outputs: Such as ``(B, U)``, ``(B, U, H, W)`` of a convolution or ``(B, N, U)``.
        unit_dim: Where its units are; see `unit_dim_of`.

    Returns:
        ``(R, U)``.

    Example:
        >>> as_rows(torch.zeros(2, 5, 3, 3), 1).shape, as_rows(torch.zeros(2, 7, 5)).shape
        (torch.Size([18, 5]), torch.Size([14, 5]))
    """
    return outputs if outputs.ndim == 2 else outputs.movedim(unit_dim, -1).flatten(0, -2)


def unit_dim_of(layer: nn.Module) -> int:
    """Return the dimension of a layer's units: the last of a linear layer, else the channels'.

    A shape does not tell: some backbones (Swin, ConvNeXt) have linear layers on ``(B, H, W, U)``.
    """
    return -1 if isinstance(layer, nn.Linear) else 1


def effective_rank(rows: Tensor) -> float:
    """Return how many directions the outputs of a layer use.

    The exponential of the entropy of the singular values' shares, around the mean of the rows (Roy
    & Vetterli, 2007, https://infoscience.epfl.ch/record/110188).

    Args:
        rows: ``(R, U)``.

    Returns:
        From 1 to ``min(R, U)``; 0 if all rows are equal.

    Example:
        >>> round(effective_rank(torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])))
        2
    """
    # On the CPU: not every device has float64 (Apple's has not).
    centered = (rows - rows.mean(dim=0)).cpu().double()
    if not torch.isfinite(centered).all():
        return 0.0
    if centered.shape[0] > centered.shape[1]:
        centered = centered.T
    # Eigenvalues of the smaller square are quicker than singular values.
    values = torch.linalg.eigvalsh(centered @ centered.T).clamp_min(0).sqrt()
    total = values.sum()
    if total <= 1e-6 * max(rows.abs().max().item(), 1e-300):  # of rounding alone
        return 0.0
    shares = values / total
    return float(torch.exp(torch.special.entr(shares).sum()))


def one_sign_share(rows: Tensor) -> float:
    """Return the share of a layer's inputs that have one sign on all rows: the cause of zig-zag.

    Args:
        rows: Inputs ``(R, U)``. An input that is always 0 has no sign and is not counted.

    Example:
        >>> one_sign_share(torch.tensor([[1.0, 2.0, 0.0], [3.0, -1.0, 0.0]]))
        0.5
    """
    never_negative, never_positive = rows.amin(dim=0) >= 0, rows.amax(dim=0) <= 0
    is_used = ~(never_negative & never_positive)
    number = int(is_used.sum())
    return float(((never_negative | never_positive) & is_used).sum()) / number if number else 0.0


def energy_along(gradient: Tensor, direction: Tensor) -> float:
    """Return the share of a weight gradient's energy along one direction of the inputs.

    Where inputs are far from zero-centered, most of each unit's gradient lies along their mean, and
    the units' weights move together (LeCun et al., 1998, Efficient BackProp, section 4.3).

    Args:
        gradient: ``(U, D)``.
        direction: ``(D,)``, of any length.

    Returns:
        In ``[0, 1]``; 0 if either is zero.

    Example:
        >>> energy_along(torch.tensor([[3.0, 4.0]]), torch.tensor([2.0, 0.0]))
        0.36...
    """
    gradient, direction = gradient.float(), direction.float()
    length, energy = direction.norm(), gradient.norm().square()
    if not length > 0 or not energy > 0:
        return 0.0
    return float(((gradient @ direction) / length).square().sum() / energy)


def cosine(first: Tensor, second: Tensor) -> float:
    """Return the cosine between two updates; 0 if either is zero.

    Example:
        >>> cosine(torch.tensor([1.0, 0.0]), torch.tensor([[-2.0], [0.0]]))
        -1.0
    """
    first, second = first.float().flatten(), second.float().flatten()
    return float(functional.cosine_similarity(first, second, dim=0, eps=1e-30))


def signal_to_noise(mean: Tensor, mean_square: float) -> float:
    """Return the signal to noise ratio of a gradient over some steps.

    Args:
        mean: The mean gradient.
        mean_square: The mean squared norm of the gradients.

    Returns:
        The squared norm of the mean over the variance; ``inf`` without any variance, 0
        without any gradient.

    Example:
        >>> signal_to_noise(torch.tensor([1.0, 0.0]), 2.0)
        1.0
    """
    signal = float(mean.cpu().double().square().sum())
    noise = mean_square - signal
    if noise > 1e-12 * mean_square:
        return signal / noise
    return math.inf if signal > 0 else 0.0


def batch_norm_lag(
    running_mean: Tensor, running_var: Tensor, mean: Tensor, var: Tensor
) -> tuple[float, float]:
    """Return how far running statistics are from those of the batch, as medians over the channels.

    Args:
        running_mean: ``(C,)``.
        running_var: ``(C,)``.
        mean: ``(C,)``, of the batch.
        var: ``(C,)``, of the batch.

    Returns:
        The distance of the means in standard deviations of the batch, and the factor between the
        standard deviations, at least 1.

    Example:
        >>> one = torch.ones(3)
        >>> shift, factor = batch_norm_lag(one, 4 * one, 0 * one, one)
        >>> round(shift, 6), round(factor, 6)
        (1.0, 2.0)
    """
    tiny = 1e-12
    moments = (running_mean, running_var, mean, var)
    running_mean, running_var, mean, var = (each.cpu().double() for each in moments)
    std, running_std = (var + tiny).sqrt(), (running_var + tiny).sqrt()
    shift = ((running_mean - mean).abs() / std).median()
    factor = torch.exp((running_std.log() - std.log()).abs().median())
    return float(shift), float(factor)


def batch_norm_lag_on(norm: _BatchNorm, inputs: Tensor) -> tuple[float, float] | None:
    """Return the lag of a batch norm behind what it is given, see `batch_norm_lag`.

    Args:
        norm: The layer.
        inputs: One batch of its inputs.

    Returns:
        ``None`` of a layer without running statistics, or on a single row.
    """
    rows = as_rows(inputs.detach(), unit_dim_of(norm)).float()
    if norm.running_mean is None or norm.running_var is None or len(rows) < 2:
        return None
    var, mean = torch.var_mean(rows, dim=0)
    return batch_norm_lag(norm.running_mean, norm.running_var, mean, var)
