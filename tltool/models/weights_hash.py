"""Hash of a module's weights, by which the same weights are known again."""

import hashlib
from collections.abc import Mapping

import torch
from torch import Tensor, nn


def hash_weights(module: nn.Module) -> str:
    """Return a hash of all parameters and buffers of a module, see `hash_tensors`."""
    return hash_tensors({**dict(module.named_parameters()), **dict(module.named_buffers())})


def hash_tensors(tensors: Mapping[str, Tensor]) -> str:
    """Return a hash of tensors: names, types, shapes and bytes."""
    digest = hashlib.blake2b(digest_size=16)
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        # Flat, for numbers without a shape, such as a counter of batches, have no bytes to view.
        flat = tensor.detach().cpu().contiguous().reshape(-1)
        digest.update(flat.view(torch.uint8).numpy().data)
    return digest.hexdigest()
