import os

import pytest
import torch

from tltool.features.segments import (
    KEY_BYTES,
    DamagedSegmentError,
    read_segment,
    segment_paths,
    write_segment,
)


@pytest.fixture
def segment(tmp_path):
    keys = torch.arange(3 * KEY_BYTES, dtype=torch.uint8).view(3, KEY_BYTES)
    return write_segment(tmp_path, keys, [torch.randn(2, 5), torch.randn(1, 5)])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64])
def test_features_come_back_as_they_were_written(tmp_path, dtype):
    features = torch.randn(4, 3).to(dtype)
    keys = torch.zeros(4, KEY_BYTES, dtype=torch.uint8)
    path = write_segment(tmp_path, keys, [features])
    segment = read_segment(path, check_features=True)
    assert segment.features.dtype == dtype
    assert torch.equal(segment.features, features)


def test_a_segment_that_was_cut_off_is_damaged(segment):
    os.truncate(segment, segment.stat().st_size - 1)
    with pytest.raises(DamagedSegmentError, match="is damaged"):
        read_segment(segment)


def test_a_flipped_bit_in_a_key_is_damage(segment):
    content = bytearray(segment.read_bytes())
    content[-1] ^= 1
    segment.write_bytes(content)
    with pytest.raises(DamagedSegmentError, match="its keys are not those written"):
        read_segment(segment)


def test_a_flipped_bit_in_a_feature_is_damage(segment):
    content = bytearray(segment.read_bytes())
    content[-3 * KEY_BYTES - 1] ^= 1
    segment.write_bytes(content)
    with pytest.raises(DamagedSegmentError, match="its features are not those written"):
        read_segment(segment, check_features=True)


def test_what_is_half_written_is_no_segment(tmp_path, segment):
    (tmp_path / f".{segment.name}.partial").write_bytes(b"half")
    assert segment_paths(tmp_path) == [segment]
