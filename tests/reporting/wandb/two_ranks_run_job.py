"""One run of test_processes.py, as one of two gloo ranks.

Usage: LOCAL_RANK=0 MASTER_PORT=... python two_ranks_run_job.py ARGUMENTS OF FIT
"""

import sys

import torch

from tltool.__main__ import main

if __name__ == "__main__":
    torch.set_num_threads(1)
    sys.exit(main(["fit", "--finetuning", "LinearProbe", *sys.argv[1:]]))
