"""The store at which ranks meet before there is a process group: that of torchrun or of rank 0."""

import os
import time
from collections.abc import Callable
from datetime import timedelta

import torch.distributed as dist
from torch._C._distributed_c10d import TCPStore
from torch.distributed.distributed_c10d import PrefixStore, Store

from tltool._plain_text import one_line
from tltool.training.distributed.cluster_environment import cluster_environment
from tltool.training.distributed.launch import Launch, rank_name
from tltool.training.distributed.rank_errors import RankFailedError

_PERIOD = 0.1  # seconds between two looks at who has come


def open_store(launch: Launch, name: str, limit: timedelta) -> Store:
    """Return the store of the ranks; the process group, on the same port, shares its server.

    Args:
        launch: What the launcher has started.
        name: What the store is for: each name has keys of its own.
        limit: How long rank 0 is waited for.

    Raises:
        RankFailedError: If rank 0 does not come.
    """
    environment = cluster_environment(launch)
    address, port = environment.main_address, environment.main_port
    has_agent = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"  # torchrun has one there.
    try:
        store = TCPStore(
            address,
            port,
            world_size=launch.world_size,
            is_master=launch.rank == 0 and not has_agent,
            timeout=limit,
            wait_for_workers=False,
            multi_tenant=True,
        )
    except dist.DistError as error:
        raise RankFailedError(
            f"{rank_name()} does not reach rank 0 at {address}:{port} within "
            f"{limit.total_seconds():g} s. Look for the error of rank 0; else the port is closed, "
            f"or the address is wrong: set MASTER_ADDR and MASTER_PORT. ({one_line(error)[:200]})"
        ) from error
    # One torchrun keeps its store over restarts; those of several nodes count differently.
    attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT") if launch.num_nodes == 1 else 0
    return PrefixStore(f"tltool-{name}-{attempt}", store)


def wait_for_all(
    store: Store, launch: Launch, limit: timedelta, meanwhile: Callable[[], None] = lambda: None
) -> None:
    """Let rank 0 wait until all ranks have come to a store; the others go on.

    A store waits too, but in a call that no signal interrupts.

    Args:
        store: Of all ranks.
        launch: What the launcher has started.
        limit: How long they are waited for.
        meanwhile: Called again and again.

    Raises:
        RankFailedError: On rank 0, if they do not come.
    """
    count, end = store.add("here", 1), time.monotonic() + limit.total_seconds()
    while launch.rank == 0 and count < launch.world_size:
        if time.monotonic() > end:
            raise RankFailedError(
                f"{count} of {launch.world_size} ranks have come within "
                f"{limit.total_seconds():g} s. Look for the errors of the others."
            )
        meanwhile()
        time.sleep(_PERIOD)
        count = store.add("here", 0)
