"""What a launcher has started fills or contradicts devices; nobody trains alone unnoticed."""

import pytest

from tltool.training.distributed.launch import check_launch, find_launch, rank_name

TORCHRUN = {
    "TORCHELASTIC_RUN_ID": "none",
    "RANK": "1",
    "WORLD_SIZE": "2",
    "LOCAL_RANK": "0",
    "LOCAL_WORLD_SIZE": "1",
}
JOB = {"SLURM_JOB_ID": "7", "SLURM_JOB_NAME": "train.sh", "SLURM_NTASKS": "2"}
BATCH = JOB | {"SLURM_PROCID": "0", "SLURM_LOCALID": "0", "SLURM_NNODES": "2"}
TASK = BATCH | {"SLURM_PROCID": "1", "SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "2"}


@pytest.mark.parametrize(("environment", "name"), [(TORCHRUN, "torchrun"), (TASK, "Slurm")])
def test_one_process_a_node_is_a_launch_of_two_nodes(environment, name):
    launch = check_launch(None, 1, environment)
    assert launch == (name, 1, 2, 0, 2, 1)


def test_torchrun_below_srun_counts_its_own_processes():
    assert find_launch(TASK | {"SLURM_STEP_NUM_TASKS": "1"} | TORCHRUN).launcher == "torchrun"


def test_tasks_of_one_node_are_counted_without_ntasks_per_node():
    on_one = {"SLURM_STEP_NUM_NODES": "1", "SLURM_STEP_TASKS_PER_NODE": "2", "SLURM_LOCALID": "1"}
    assert check_launch(2, 1, TASK | on_one) == ("Slurm", 1, 2, 1, 1, 2)


def test_a_step_counts_its_own_tasks_and_not_those_of_the_job():
    step = {"SLURM_STEP_NUM_TASKS": "1", "SLURM_STEP_NUM_NODES": "1", "SLURM_PROCID": "0"}
    assert find_launch(TASK | step).world_size == 1


@pytest.mark.parametrize("environment", [TORCHRUN, TASK])
@pytest.mark.parametrize(("devices", "num_nodes"), [(2, 1), (None, 3)])
def test_other_numbers_than_those_of_the_launcher_are_refused(environment, devices, num_nodes):
    with pytest.raises(ValueError, match=r"has started .* Leave trainer\.\w+ out"):
        check_launch(devices, num_nodes, environment)


def test_tasks_without_srun_are_refused():
    with pytest.raises(ValueError, match=r"has 2 tasks, but only one process .* Start with srun"):
        check_launch(None, 1, BATCH)


def test_more_devices_than_the_one_task_of_a_batch_job_are_refused():
    with pytest.raises(ValueError, match=r"started 1 process .* asks for 2\..*ntasks-per-node=2"):
        check_launch(2, 1, BATCH | {"SLURM_NTASKS": "1", "SLURM_NNODES": "1"})


def test_different_numbers_of_tasks_on_nodes_are_refused():
    with pytest.raises(ValueError, match="not the same number on each"):
        check_launch(None, 1, TASK | {"SLURM_NTASKS": "4", "SLURM_STEP_TASKS_PER_NODE": "3,1"})


@pytest.mark.parametrize("name", ["bash", "interactive"])
@pytest.mark.parametrize("step", [{}, {"SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "1"}])
def test_an_interactive_job_starts_any_number_of_devices(name, step):
    assert not check_launch(2, 1, BATCH | {"SLURM_JOB_NAME": name} | step).launcher


def test_srun_in_an_interactive_job_is_a_launch():
    assert find_launch(TASK | {"SLURM_JOB_NAME": "interactive"}).world_size == 2


def test_the_number_of_an_interactive_step_is_no_task_of_srun():
    assert not find_launch(BATCH | {"SLURM_STEP_ID": "4294967290"}).launcher


@pytest.mark.parametrize("name", ["WORLD_SIZE", "OMPI_COMM_WORLD_SIZE"])
def test_processes_that_would_each_train_alone_are_refused(name):
    with pytest.raises(ValueError, match=f"{name}=2 .* would train alone"):
        check_launch(None, 1, {name: "2", "RANK": "0"})


def test_a_second_node_of_one_is_refused():
    with pytest.raises(ValueError, match="Set trainer"):
        check_launch(2, 1, {"NODE_RANK": "1"})


def test_what_lightning_starts_is_left_to_it():
    child = {"LOCAL_RANK": "1", "WORLD_SIZE": "2", "NODE_RANK": "0"}
    assert check_launch(2, 1, child) == find_launch({})


def test_messages_name_the_rank_where_there_are_several():
    names = [rank_name(variables).partition(" (")[0] for variables in (TORCHRUN, TASK, JOB, {})]
    assert names == ["rank 1", "rank 1", "", ""]
