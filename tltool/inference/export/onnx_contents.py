"""Contents of an ONNX file without the onnx package: a hash of each weight, and of the graph."""

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

# Numbers of fields: https://github.com/onnx/onnx/blob/main/onnx/onnx.proto
_GRAPH, _INITIALIZER, _TENSOR_NAME = 7, 5, 8
_VARINT, _EIGHT_BYTES, _SIZED = 0, 1, 2


def content_hashes(content: bytes, metadata: Mapping[str, str]) -> dict[str, str]:
    """Return a hash of each weight, of the rest of the graph, and of each text of the metadata.

    Args:
        content: An ONNX file.
        metadata: The texts, by name.

    Example:
        >>> content_hashes(b"", {"objective": '"single_label"'})
        {'graph': 'e3b0c44298fc1c14', 'metadata objective': '304440c905151fef'}
    """
    rest, hashes = hashlib.sha256(), dict[str, str]()
    for number, value in _fields(memoryview(content)):
        for inner, part in _fields(value) if number == _GRAPH else ():
            if inner == _INITIALIZER:
                weight = next(bytes(each) for n, each in _fields(part) if n == _TENSOR_NAME)
                hashes[f"weight {weight.decode()}"] = _short(hashlib.sha256(part))
            else:
                rest.update(part)
    hashes["graph"] = _short(rest)
    for name, text in metadata.items():
        hashes[f"metadata {name}"] = _short(hashlib.sha256(text.encode()))
    return hashes


def _short(digest: Any) -> str:
    return str(digest.hexdigest()[:16])


def _fields(message: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Yield the number and the bytes of each field of a message of protocol buffers."""
    position = 0
    while position < len(message):
        key, position = _varint(message, position)
        kind, size = key & 7, 4
        if kind == _SIZED:
            size, position = _varint(message, position)
        elif kind == _VARINT:
            size = _varint(message, position)[1] - position
        elif kind == _EIGHT_BYTES:
            size = 8
        yield key >> 3, message[position : position + size]
        position += size


def _varint(message: memoryview, position: int) -> tuple[int, int]:
    """Return a number of any size, and where it ends."""
    value = shift = 0
    while True:
        byte = message[position]
        value |= (byte & 127) << shift
        position, shift = position + 1, shift + 7
        if byte < 128:
            return value, position
