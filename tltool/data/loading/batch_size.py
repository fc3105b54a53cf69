"""Batch size: the share of one device, the number of batches in an epoch, and checks."""

USUAL_BATCH_SIZE = 32


def check_at_least_one(batch_size: int) -> int:
    """Return a batch size that can be.

    Raises:
        ValueError: If there is not one image in it.

    Example:
        >>> check_at_least_one(0)
        Traceback (most recent call last):
        ...
        ValueError: The batch size must be at least 1, got 0. Set --data.batch_size 32.
    """
    if batch_size < 1:
        raise ValueError(
            f"The batch size must be at least 1, got {batch_size}. Set --data.batch_size 32."
        )
    return batch_size


def per_device_batch_size(batch_size: int, world_size: int) -> int:
    """Return the share of one device.

    Raises:
        ValueError: If the devices cannot share equally, or there is nothing to share.

    Example:
        >>> per_device_batch_size(32, 4)
        8
        >>> per_device_batch_size(30, 4)
        Traceback (most recent call last):
        ...
        ValueError: The batch size 30 cannot be shared by 4 devices. Set --data.batch_size 28 or 32.
    """
    share, rest = divmod(check_at_least_one(batch_size), world_size)
    if rest == 0:
        return share
    sizes = [str(size * world_size) for size in (share, share + 1) if size > 0]
    raise ValueError(
        f"The batch size {batch_size} cannot be shared by {world_size} devices. "
        f"Set --data.batch_size {' or '.join(sizes)}."
    )


def batches_per_epoch(num_images: int, batch_size: int) -> int:
    """Return the number of training batches of one device in an epoch.

    The last one may be smaller, but a single image, on which batch norm cannot train, is left to
    other epochs, where it stands elsewhere in the order.

    Args:
        num_images: Number of images that the device sees in an epoch.
        batch_size: Number of images in a batch of the device.

    Example:
        >>> [batches_per_epoch(num_images, 4) for num_images in (8, 9, 10)]
        [2, 2, 3]
    """
    full, rest = divmod(num_images, batch_size)
    return full + (rest > 1 or (rest == 1 and full == 0))


def fitting_batch_size(num_images: int) -> int:
    """Return the largest power of two that so many images fill.

    Example:
        >>> fitting_batch_size(20)
        16
    """
    return 1 << (num_images.bit_length() - 1)


def check_batch_size(batch_size: int, num_images: int) -> None:
    """Raise if a batch needs more images than there are.

    Example:
        >>> check_batch_size(32, 20)
        Traceback (most recent call last):
        ...
        ValueError: The batch size 32 is larger than the 20 training images. Set ...batch_size 16.
    """
    if batch_size > num_images:
        raise ValueError(
            f"The batch size {batch_size} is larger than the {num_images} training images. "
            f"Set --data.batch_size {fitting_batch_size(num_images)}."
        )
