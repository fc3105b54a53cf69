import subprocess
import sys

import pytest

# Passes images through a network; prints how many pages the system had to clear for it.
FORWARD = """
import resource, sys, torch
from tltool.cli.allocator import keep_freed_memory
from tltool.models.backbone import Backbone
if sys.argv[1] == "keep":
    assert keep_freed_memory()
backbone = Backbone("tf_efficientnet_lite0", "random").eval().requires_grad_(False)
images = torch.randn(16, 3, 224, 224)
backbone(images)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(2):
    backbone(images)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def page_faults(mode):
    command = [sys.executable, "-c", FORWARD, mode]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="mallopt is a function of glibc on Linux")
def test_freed_memory_is_taken_again_without_new_pages():
    assert page_faults("keep") < page_faults("default") / 4
