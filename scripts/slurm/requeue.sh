# Sourced by the batch scripts: `run COMMAND...` runs it, and requeues the job while status.json says that the run goes on.
# Needs TLTOOL (this repository) and RUN_DIR (the run directory).

for path in "$TLTOOL" "$RUN_DIR"; do
  [[ $path == /* ]] || { echo "error: $path must be an absolute path: nodes start elsewhere." >&2 && exit 2; }
done
export PATH=$TLTOOL/.venv/bin:$PATH
export SRUN_CPUS_PER_TASK=${SLURM_CPUS_PER_TASK:-1} # srun does not take it from sbatch since Slurm 22.05.
export WANDB_MODE=${WANDB_MODE:-offline}            # Compute nodes have no network.
export MASTER_PORT=${MASTER_PORT:-$((20000 + SLURM_JOB_ID % 10000))}
export MASTER_ADDR=${MASTER_ADDR:-$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)}
[[ -n $MASTER_ADDR ]] || unset MASTER_ADDR # A container may lack scontrol: each rank then asks the variables of its step.

# Preemption, scancel and the end of the time limit send SIGTERM to this shell too. Slurm itself then decides
# whether the job starts again: a job that was cancelled must not requeue itself.
trap 'ended_by_slurm=1' TERM
trap : USR2 # A shell that is signalled waits for its ranks too.

# Print the status of a run, and those of its further seeds (--seeds).
status() {
  cat "$RUN_DIR"/status.json "$RUN_DIR"_seed*/status.json 2>/dev/null
}

run() {
  local before after code job=$SLURM_JOB_ID
  [[ -z ${SLURM_ARRAY_JOB_ID:-} ]] || job=${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID
  before=$(status)
  "$@"
  code=$?
  after=$(status)
  echo "exit code $code, status ${after:-none}"
  # srun and torchrun change exit codes, so the file decides: "unfinished" was stopped, "running" was killed. A file that
  # is as before is of an earlier start; tltool itself says "failed" after three starts without progress.
  if [[ -n ${ended_by_slurm:-} ]] || ! grep -vxF "$before" <<<"$after" | grep -Eq '"state": "(unfinished|running)"'; then
    return "$code"
  fi
  scontrol requeue "$job" && exit 0
  echo "This job may not requeue itself: submit it several times, with --dependency=singleton." >&2
  return "$code"
}
