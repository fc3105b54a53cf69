"""A callback that stops training from inside at chosen steps, as a cluster does from outside.

TLTOOL_STOPS is a list such as ``0:12:usr2 1:20:requeue``: the job is signalled in step 12 of its
first start, and preempted in step 20 of its second one.
"""

import os
import signal
import subprocess
import time

from lightning.pytorch import Callback


def start_number():
    restarts = (os.environ.get(f"{name}_RESTART_COUNT", "0") for name in ("SLURM", "TORCHELASTIC"))
    return sum(map(int, restarts))


class Stops(Callback):
    def __init__(self):
        stops = [stop.split(":") for stop in os.environ.get("TLTOOL_STOPS", "").split()]
        self.stops = {int(step): how for start, step, how in stops if int(start) == start_number()}

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        how = self.stops.get(trainer.global_step)
        if how == "kill" and trainer.global_rank == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        job = os.environ.get("SLURM_JOB_ID", "")
        commands = {
            "usr2": ["scancel", "--signal=USR2", job],
            "requeue": ["scontrol", "requeue", job],
        }
        if how in commands and trainer.is_global_zero:
            subprocess.run(commands[how], check=True)
            time.sleep(1)  # Until the signal is there: a step is quicker.
