"""Ranks and addresses under Slurm follow from the step; nothing requeues."""

import os

import pytest

from tltool.training.distributed.cluster_environment import SlurmTasks, cluster_environment
from tltool.training.distributed.launch import Launch, find_launch

STEP = {
    "SLURM_JOB_ID": "12345",
    "SLURM_STEP_ID": "1",
    "SLURM_STEP_NODELIST": "gpu[07-08]",
    "SLURM_NODELIST": "gpu[01-08]",
    "SLURM_NTASKS": "8",
    "SLURM_STEP_NUM_TASKS": "2",
    "SLURM_PROCID": "1",
    "SLURM_LOCALID": "0",
    "SLURM_NODEID": "1",
    "SLURM_NNODES": "8",
    "SLURM_STEP_NUM_NODES": "2",
}


@pytest.fixture
def environment(monkeypatch):
    monkeypatch.setattr(os, "environ", dict(STEP))
    return cluster_environment(find_launch(STEP))


def test_the_first_node_of_the_step_is_the_address(environment):
    assert (environment.main_address, environment.world_size()) == ("gpu07", 2)
    assert (environment.global_rank(), environment.node_rank()) == (1, 1)


def test_two_steps_of_a_job_and_two_jobs_have_different_ports(environment, monkeypatch):
    ports = set()
    for other in ({}, {"SLURM_STEP_ID": "2"}, {"SLURM_JOB_ID": "12346"}, {"SLURM_JOB_ID": "22345"}):
        monkeypatch.setattr(os, "environ", STEP | other)
        ports.add(environment.main_port)
    assert len(ports) == 4


def test_a_port_that_is_given_counts(environment, monkeypatch):
    monkeypatch.setattr(os, "environ", STEP | {"MASTER_PORT": "29500"})
    assert environment.main_port == 29500


def test_nothing_requeues_a_job(environment):
    assert not environment.auto_requeue


def test_one_process_needs_no_launcher():
    assert not isinstance(cluster_environment(Launch("Slurm")), SlurmTasks)
