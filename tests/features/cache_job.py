"""What other processes run for test_cache_processes.py: features of a folder, into a file.

Usage: python cache_job.py IMAGES CACHE RESULT KIND [die | limit | rank:N]

KIND is ``features`` or ``activations``.
"""

import logging
import os
import resource
import runpy
import signal
import sys
from pathlib import Path

import torch

from tltool.features import store
from tltool.features.cache import cached_features
from tltool.features.cut_search import find_cut
from tltool.features.frozen_front import FrozenFront
from tltool.models.backbone import Backbone

images_of = runpy.run_path(str(Path(__file__).with_name("conftest.py")))["images_of"]


def die_in_the_third_segment():
    """Kill this process, as kill -9 does, when a third segment is on its way to the disk."""
    sync, calls = os.fsync, []

    def fsync(descriptor):
        calls.append(descriptor)
        if len(calls) == 7:  # The facts and each segment sync their file and their folder.
            os.kill(os.getpid(), signal.SIGKILL)
        sync(descriptor)

    os.fsync = fsync


def limit_files(num_bytes):
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, resource.RLIM_INFINITY))


def join_ranks(cache, rank):
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{cache}.ranks", rank=rank, world_size=2
    )


def network_of(kind):
    """Return a backbone, or its layers in front of the last group."""
    torch.manual_seed(0)
    backbone = Backbone("test_resnet", weights="random", img_size=32).eval()
    if kind == "features":
        return backbone
    backbone.requires_grad_(False).model.layer4.requires_grad_(True)
    return FrozenFront(backbone, find_cut(backbone, torch.randn(2, 3, 32, 32)))


def main(images, cache, result, kind, mode=""):
    logging.basicConfig(format="%(levelname)s %(message)s", level=logging.INFO)
    store._SEGMENT_BYTES = 1000  # A segment for each batch.
    if mode == "die":
        die_in_the_third_segment()
    if mode == "limit":
        limit_files(1500)
    if mode.startswith("rank"):
        join_ranks(cache, int(mode[-1]))
    network = network_of(kind)
    dataset = images_of(Path(images), network_of("features"))
    features = cached_features(network, dataset, cache=cache, batch_size=4)
    limit_files(resource.RLIM_INFINITY)
    torch.save({"features": features.tensor().clone(), "computed": features.num_computed}, result)
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main(*sys.argv[1:])
