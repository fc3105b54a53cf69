import os
import runpy
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tltool.features.cache import cached_features
from tltool.features.segments import read_segment, segment_paths

JOB = Path(__file__).with_name("cache_job.py")
job = runpy.run_path(str(JOB))
network_of, images_of = job["network_of"], job["images_of"]
KINDS = ["features", "activations"]


def start(images, cache, result, *mode, kind="features"):
    command = [sys.executable, str(JOB), str(images), str(cache), str(result), kind, *mode]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=os.environ
    )


def directory_of(cache):
    (folder,) = (path.parent for path in cache.glob("*/fingerprint.json"))
    return folder


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.slow
def test_a_killed_run_leaves_whole_segments_that_are_used(images, tmp_path, kind):
    cache = tmp_path / "c"
    process = start(images, cache, tmp_path / "result", "die", kind=kind)
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    (partial,) = directory_of(cache).glob(".*.partial")
    network, dataset = network_of(kind), images_of(images, network_of("features"))
    resumed = cached_features(network, dataset, cache=cache)
    assert (resumed.num_computed, partial.exists()) == (16, False)
    torch.testing.assert_close(
        resumed.tensor(), cached_features(network, dataset, cache=tmp_path / "new").tensor()
    )


@pytest.mark.slow
def test_two_processes_at_once_get_the_same_whole_features(images, tmp_path):
    cache, results = tmp_path / "c", [tmp_path / "0", tmp_path / "1"]
    processes = [start(images, cache, result) for result in results]
    outputs = [process.communicate(timeout=60)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    first, second = (torch.load(result) for result in results)
    torch.testing.assert_close(first["features"], second["features"])
    for path in segment_paths(directory_of(cache)):
        read_segment(path, check_features=True)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_two_ranks_share_the_work_and_get_the_same(images, tmp_path, kind):
    cache, results = tmp_path / "c", [tmp_path / "0", tmp_path / "1"]
    processes = [start(images, cache, path, f"rank:{path.name}", kind=kind) for path in results]
    outputs = [process.communicate(timeout=60)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    first, second = (torch.load(result) for result in results)
    assert (first["computed"], second["computed"]) == (12, 12)
    assert torch.equal(first["features"], second["features"])


@pytest.mark.slow
def test_a_full_disk_is_said_once_and_features_stay_in_memory(
    images, tmp_path, make_backbone, make_images
):
    process = start(images, tmp_path / "c", tmp_path / "result", "limit")
    output, _ = process.communicate(timeout=60)
    assert output.count("WARNING") == 1
    assert "File too large. They stay in memory" in output
    backbone = make_backbone()
    expected = cached_features(backbone, make_images(images, backbone), cache=tmp_path / "new")
    torch.testing.assert_close(torch.load(tmp_path / "result")["features"], expected.tensor())
    assert not list((tmp_path / "c").rglob(".*.partial"))


@pytest.mark.slow
def test_a_full_disk_refuses_activations_and_leaves_whole_segments(images, tmp_path):
    process = start(images, tmp_path / "c", tmp_path / "result", "limit", kind="activations")
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "NotKeptError: activations cannot be kept" in output
    assert not list((tmp_path / "c").rglob(".*.partial"))


def test_a_folder_that_cannot_be_written_is_said_and_features_stay_in_memory(
    images, tmp_path, make_backbone, make_images, caplog
):
    (tmp_path / "file").write_text("in the way")
    backbone = make_backbone()
    dataset = make_images(images, backbone)
    features = cached_features(backbone, dataset, cache=tmp_path / "file", batch_size=4)
    assert features.tensor().shape == (24, 96)
    assert sum(record.levelname == "WARNING" for record in caplog.records) == 1
    assert "name another directory in TLTOOL_CACHE" in caplog.text


def test_too_little_space_is_said_before_it_is_taken(
    images, tmp_path, make_backbone, make_images, monkeypatch, caplog
):
    usage = type("Usage", (), {"free": 1000})
    monkeypatch.setattr("tltool.features.store.shutil.disk_usage", lambda _: usage)
    backbone = make_backbone()
    cached_features(backbone, make_images(images, backbone), cache=tmp_path / "c")
    assert "No space left on device" in caplog.text
    assert not (tmp_path / "c").exists()


def test_the_size_is_said_before_it_is_taken(images, tmp_path, make_backbone, make_images, caplog):
    caplog.set_level("INFO", "tltool.features")
    backbone = make_backbone()
    cached_features(backbone, make_images(images, backbone), cache=tmp_path)
    assert "24 rows to compute, at most 9.6 kB in" in caplog.text


@pytest.mark.parametrize("damage", ["cut", "flip"])
def test_a_damaged_segment_is_said_and_computed_again(
    images, tmp_path, make_backbone, make_images, caplog, damage
):
    backbone = make_backbone()
    dataset = make_images(images, backbone)
    features = cached_features(backbone, dataset, cache=tmp_path)
    (path,) = segment_paths(features.store.directory)
    content = path.read_bytes()
    path.write_bytes(content[:-1] + (b"" if damage == "cut" else bytes([content[-1] ^ 1])))
    assert cached_features(backbone, dataset, cache=tmp_path).num_computed == 24
    assert "is damaged" in caplog.text
