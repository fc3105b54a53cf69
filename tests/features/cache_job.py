"""What other processes run for test_cache_processes.py: features of a folder, into a file.

Usage: python cache_job.py PHOTOS CACHE RESULT [die | limit | rank:N]
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
from tltool.models.backbone import Backbone

conftest = runpy.run_path(str(Path(__file__).with_name("conftest.py")))

photos, cache, result, *mode = sys.argv[1:]
logging.basicConfig(format="%(levelname)s %(message)s", level=logging.INFO)
store._SEGMENT_BYTES = 1000  # A segment for each batch.


def die_in_the_third_segment(descriptor, calls=[]):  # noqa: B006  # counts on purpose
    calls.append(descriptor)
    if len(calls) == 5:  # Each segment syncs its file and its folder.
        os.kill(os.getpid(), signal.SIGKILL)


if mode == ["die"]:
    os.fsync = die_in_the_third_segment
if mode == ["limit"]:
    resource.setrlimit(resource.RLIMIT_FSIZE, (1500, resource.RLIM_INFINITY))
if mode and mode[0].startswith("rank"):
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{cache}.ranks", rank=int(mode[0][-1]), world_size=2
    )

torch.manual_seed(0)
backbone = Backbone("test_resnet", weights="random", img_size=32)
dataset = conftest["photos_of"](Path(photos), backbone)
features = cached_features(backbone, dataset, cache=cache, batch_size=4)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
torch.save({"features": features.tensor().clone(), "computed": features.num_computed}, result)
if torch.distributed.is_initialized():
    torch.distributed.destroy_process_group()
