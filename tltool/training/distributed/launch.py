"""What a launcher (torchrun, srun) has started, and whether a configuration asks for the same."""

import os
import socket
from collections.abc import Mapping
from typing import NamedTuple

_INTERACTIVE = {"bash", "interactive"}  # Names of jobs, by which Lightning knows them too.
_NO_TASK = 0xFFFFFFF0  # Slurm's numbers of steps from here on are a batch script, a shell, ...
_BY_HAND = "torchrun --nproc_per_node DEVICES --nnodes NODES -m tltool fit ..."
_MORE = {"torchrun": "--nproc_per_node", "Slurm": "--ntasks-per-node"}


class Launch(NamedTuple):
    """The processes that a launcher has started, and which of them this one is.

    Attributes:
        launcher: ``torchrun`` or ``Slurm``; empty where this process was started alone, or by
            Lightning.
        rank: This process.
        world_size: Number of processes.
        local_rank: This process among those of its node.
        num_nodes: Number of nodes.
        per_node: Number of processes on each; 0 where they are not the same number.
    """

    launcher: str = ""
    rank: int = 0
    world_size: int = 1
    local_rank: int = 0
    num_nodes: int = 1
    per_node: int = 1


def find_launch(environment: Mapping[str, str] = os.environ) -> Launch:
    """Return what the variables of a launcher say.

    torchrun comes first, for it may run below srun. In an interactive job of Slurm one process is
    one that the user has started, as on any machine.

    Args:
        environment: The variables of the process.

    Example:
        >>> find_launch({"TORCHELASTIC_RUN_ID": "1", "RANK": "3", "LOCAL_RANK": "1",
        ...              "WORLD_SIZE": "4", "LOCAL_WORLD_SIZE": "2"})
        Launch(launcher='torchrun', rank=3, world_size=4, local_rank=1, num_nodes=2, per_node=2)
        >>> find_launch({"SLURM_JOB_ID": "7", "SLURM_PROCID": "0", "SLURM_NTASKS": "2"}).launcher
        ''
    """
    if "TORCHELASTIC_RUN_ID" in environment:
        rank, world_size, local_rank, per_node = (
            int(environment[name])
            for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
        )
        nodes, rest = divmod(world_size, per_node)
        return Launch("torchrun", rank, world_size, local_rank, nodes, 0 if rest else per_node)
    tasks = _num_tasks(environment)
    if _is_task(environment) and (tasks > 1 or not _is_interactive(environment)):
        nodes = int(environment.get("SLURM_STEP_NUM_NODES") or environment.get("SLURM_NNODES") or 1)
        is_even = "," not in environment.get("SLURM_STEP_TASKS_PER_NODE", "")
        rank, local_rank = (int(environment.get(f"SLURM_{n}") or 0) for n in ("PROCID", "LOCALID"))
        return Launch("Slurm", rank, tasks, local_rank, nodes, tasks // nodes if is_even else 0)
    is_job = "SLURM_JOB_ID" in environment and "SLURM_NTASKS" in environment
    if is_job and tasks == 1 and not _is_interactive(environment):
        return Launch("Slurm")  # A batch script of one task.
    return Launch()


def check_launch(
    devices: int | None, num_nodes: int, environment: Mapping[str, str] = os.environ
) -> Launch:
    """Return what a launcher has started, or raise if a Trainer could not be a part of that.

    Args:
        devices: Number of devices of a node that were asked for; ``None`` if that is left out.
        num_nodes: Number of nodes; 1 if that is left out.
        environment: The variables of the process.

    Raises:
        ValueError: If the launcher has started another number of processes, or several processes
            would each train alone.

    Example:
        >>> check_launch(2, 1, {"SLURM_JOB_ID": "7", "SLURM_NTASKS": "1"})
        Traceback (most recent call last):
        ...
        ValueError: Slurm has started 1 process on a node, but trainer.devices asks for 2. Leave ...
    """
    launch = find_launch(environment)
    if not launch.launcher:
        _check_alone(num_nodes, environment)
        return launch
    if launch.per_node == 0:
        raise ValueError(
            f"{launch.launcher} has started {launch.world_size} processes on {launch.num_nodes} "
            f"nodes, not the same number on each. Ask for that: {_MORE[launch.launcher]}."
        )
    if devices not in (None, launch.per_node):
        processes = "process" if launch.per_node == 1 else "processes"
        raise ValueError(
            f"{launch.launcher} has started {launch.per_node} {processes} on a node, but "
            f"trainer.devices asks for {devices}. Leave trainer.devices out, or start as many "
            f"processes: {_MORE[launch.launcher]}={devices}"
            + (", and srun in front of the command." if launch.launcher == "Slurm" else ".")
        )
    if num_nodes not in (1, launch.num_nodes):
        raise ValueError(
            f"{launch.launcher} has started processes on {launch.num_nodes} nodes, but "
            f"trainer.num_nodes asks for {num_nodes}. Leave trainer.num_nodes out."
        )
    return launch


def node_name(environment: Mapping[str, str] = os.environ) -> str:
    """Return the name of this machine; for Slurm it may have another one.

    Args:
        environment: The variables of the process.

    Example:
        >>> node_name({"SLURMD_NODENAME": "node1"})
        'node1'
    """
    return environment.get("SLURMD_NODENAME") or socket.gethostname()


def rank_name(environment: Mapping[str, str] = os.environ) -> str:
    """Return how messages name this process: rank and machine; "" if it is the only one.

    Args:
        environment: The variables of the process.

    Example:
        >>> rank_name({})
        ''
    """
    launch = find_launch(environment)
    # Lightning tells those that it starts only their number on this node.
    rank = launch.rank if launch.launcher else environment.get("LOCAL_RANK")
    is_alone = rank is None or (launch.launcher and launch.world_size == 1)
    return "" if is_alone else f"rank {rank} ({node_name(environment)})"


def _check_alone(num_nodes: int, environment: Mapping[str, str]) -> None:
    """Refuse a process that is one of several, of which each would train alone."""
    tasks = _num_tasks(environment)
    if tasks > 1 and "SLURM_JOB_ID" in environment and not _is_interactive(environment):
        raise ValueError(
            f"This Slurm job has {tasks} tasks, but only one process was started. Start with srun: "
            "srun tltool fit ..."
        )
    node = int(environment.get("NODE_RANK") or 0)
    if node >= num_nodes:
        raise ValueError(
            f"NODE_RANK={node} is the rank of this node, but trainer.num_nodes is {num_nodes}. Set "
            "trainer.num_nodes to the number of nodes."
        )
    for name in ("WORLD_SIZE", "OMPI_COMM_WORLD_SIZE", "PMI_SIZE"):
        size = int(environment.get(name) or 1)
        if size > 1 and "LOCAL_RANK" not in environment:
            raise ValueError(
                f"{name}={size} says that {size} processes were started, but each would train "
                f"alone. Start them with srun, or with torchrun: {_BY_HAND}"
            )


def _num_tasks(environment: Mapping[str, str]) -> int:
    is_task = _is_task(environment)
    tasks = environment.get("SLURM_STEP_NUM_TASKS") if is_task else None
    return int(tasks or environment.get("SLURM_NTASKS") or 1)


def _is_task(environment: Mapping[str, str]) -> bool:
    """Tell whether srun has started this process: a batch script has a ``SLURM_PROCID`` too."""
    step = environment.get("SLURM_STEP_ID") or environment.get("SLURM_STEPID") or ""
    return "SLURM_PROCID" in environment and step.isdecimal() and int(step) < _NO_TASK


def _is_interactive(environment: Mapping[str, str]) -> bool:
    return environment.get("SLURM_JOB_NAME") in _INTERACTIVE
