"""Lightning's cluster environment of a launch: ranks and addresses, and nothing of requeueing."""

import os
from typing import Any

from lightning.fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment

from tltool.training.distributed.launch import Launch, find_launch

_FIRST_PORT, _NUM_PORTS = 15000, 17000  # Below those that the system gives to clients.


class SlurmTasks(SLURMEnvironment):
    """Ranks and addresses of the tasks that one srun has started.

    Lightning's own asks for variables that Slurm sets only with ``--ntasks-per-node``, takes the
    nodes of the job for those of the step, gives two steps of a job one port, and requeues inside
    of signal handlers.

    Args:
        launch: What srun has started.
    """

    def __init__(self, launch: Launch) -> None:
        self.launch = launch
        super().__init__(auto_requeue=False)

    @property
    def main_address(self) -> str:
        """The node of rank 0: the first of the step."""
        if "MASTER_ADDR" not in os.environ and "SLURM_STEP_NODELIST" in os.environ:
            nodes = os.environ["SLURM_STEP_NODELIST"]
            os.environ["MASTER_ADDR"] = self.resolve_root_node_address(nodes)
        return super().main_address

    @property
    def main_port(self) -> int:
        """A port that follows from job and step, so that all tasks know it."""
        if "MASTER_PORT" not in os.environ:
            job, step = (int(os.environ.get(f"SLURM_{name}_ID", "0")) for name in ("JOB", "STEP"))
            os.environ["MASTER_PORT"] = str(_FIRST_PORT + (job + 997 * step) % _NUM_PORTS)
        return super().main_port

    def world_size(self) -> int:
        """Return the number of tasks of the step."""
        return self.launch.world_size

    def validate_settings(self, num_devices: int, num_nodes: int) -> None:
        """Do nothing: `check_launch` has compared them."""

    @staticmethod
    def _validate_srun_used() -> None: ...

    @staticmethod
    def _validate_srun_variables() -> None: ...


def cluster_environment(launch: Launch) -> ClusterEnvironment:
    """Return the environment of a launch, so that Lightning does not look for one of its own."""
    if launch.launcher == "torchrun":
        return TorchElasticEnvironment()
    is_task = launch.launcher == "Slurm" and launch.world_size > 1
    return SlurmTasks(launch) if is_task else LightningEnvironment()


def evaluation_options() -> dict[str, Any]:
    """Return options of a Trainer that only evaluates the weights that it is given.

    In a job of Slurm Lightning takes the weights of ``hpc_ckpt_*`` in the directory of the Trainer
    instead, by default the working directory, where those of another job may lie.
    """
    plugins = [cluster_environment(find_launch())]
    return {"plugins": plugins, "default_root_dir": os.devnull}
