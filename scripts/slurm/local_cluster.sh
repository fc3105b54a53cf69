#!/usr/bin/env bash
# A real Slurm of two nodes on this machine, to try batch scripts before a cluster sees them.
# Usage: local_cluster.sh start | stop | status
#   start installs Debian's packages where they are missing, and prints the line that makes sbatch find it. It needs root.
#   Everything listens on 127.0.0.1. All state lies in TLTOOL_SLURM_DIR (default: /tmp/tltool-slurm); stop removes it.
set -euo pipefail
packages=(slurmctld slurmd slurm-client munge)
state=${TLTOOL_SLURM_DIR:-/tmp/tltool-slurm}
port=${TLTOOL_SLURM_PORT:-16817} # The controller's; the nodes have the next two.
export SLURM_CONF=$state/slurm.conf

install_packages() {
  for program in slurmctld slurmd sbatch srun munged; do
    command -v "$program" >/dev/null || missing=1
  done
  [ "${missing:-}" ] || return 0
  if ! command -v apt-get >/dev/null; then
    echo "Slurm is not installed, and can be installed here on Debian or Ubuntu alone: ${packages[*]}" >&2
    exit 3
  fi
  echo "installing ${packages[*]}" >&2
  # Another start at the same time waits for the lock of the first.
  if ! { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
    -o DPkg::Lock::Timeout=300 "${packages[@]}"; } >"$state-apt.log" 2>&1; then
    echo "The packages ${packages[*]} cannot be installed here: $(tail -n 1 "$state-apt.log")" >&2
    exit 3
  fi
}

write_config() {
  # cred_expire is also the time that a requeued job waits: 120 s by default.
  # config_overrides: nodes may claim more CPUs than this machine has. The GPUs are empty files.
  cat >"$SLURM_CONF" <<END
ClusterName=local
SlurmctldHost=localhost(127.0.0.1)
SlurmctldPort=$port
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket=$state/munge/socket,cred_expire=5
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
StateSaveLocation=$state/controller
SlurmctldPidFile=$state/slurmctld.pid
SlurmctldLogFile=$state/slurmctld.log
SlurmdSpoolDir=$state/%n
SlurmdPidFile=$state/%n.pid
SlurmdLogFile=$state/%n.log
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
ReturnToService=2
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=batch_sched_delay=1,sched_interval=2
GresTypes=gpu
NodeName=node1 NodeAddr=127.0.0.1 Port=$((port + 1)) CPUs=16 Gres=gpu:4
NodeName=node2 NodeAddr=127.0.0.1 Port=$((port + 2)) CPUs=16 Gres=gpu:4
PartitionName=local Nodes=node1,node2 Default=YES MaxTime=INFINITE State=UP
END
  touch "$state"/gpu{0..3} # Slurm counts only GPUs with a file.
  echo "Name=gpu File=$state/gpu[0-3]" >"$state/gres.conf"
}

start() {
  if [ -e "$SLURM_CONF" ]; then
    echo "There is a cluster in $state already. Stop it first: $0 stop" >&2
    exit 1
  fi
  if [ "$(id -u)" != 0 ]; then
    echo "The daemons of this Slurm run as root: start it as root." >&2
    exit 3
  fi
  missing=
  install_packages
  mkdir -p "$state"/{munge,controller,node1,node2}
  chmod 700 "$state/munge"
  write_config
  dd if=/dev/urandom of="$state/munge/key" bs=128 count=1 status=none
  chmod 400 "$state/munge/key"
  munged --force --key-file "$state/munge/key" --socket "$state/munge/socket" --pid-file "$state/munge/munged.pid" \
    --log-file "$state/munge/log" --seed-file "$state/munge/seed" --num-threads 2
  slurmctld
  slurmd -N node1
  slurmd -N node2
  for _ in $(seq 100); do
    [ "$(sinfo --noheader --format %t 2>/dev/null)" = idle ] && break
    sleep 0.2
  done
  if [ "$(sinfo --noheader --format %t)" != idle ]; then
    echo "The nodes did not come up within 20 s. See the logs in $state." >&2
    exit 1
  fi
  echo "export SLURM_CONF=$SLURM_CONF MASTER_ADDR=127.0.0.1"
}

# Print the numbers of the processes that hold a job's step of this cluster.
find_steps() {
  for pid in $(pgrep -x slurmstepd); do
    [[ $(readlink "/proc/$pid/cwd") == "$state"* ]] && echo "$pid" # They work in the directory of their slurmd.
  done
  return 0
}

# Wait until a command prints nothing, at most so many seconds.
wait_until_none() {
  for _ in $(seq $(($1 * 5))); do
    [ -z "$("${@:2}" 2>/dev/null)" ] && return 0
    sleep 0.2
  done
  return 1
}

# Print those processes of a list that there still are.
find_alive() {
  for pid in "$@"; do
    kill -0 "$pid" 2>/dev/null && echo "$pid"
  done
  return 0
}

# End the jobs, then the daemons by the numbers in their files. A step that outlived its controller would report to the next.
stop() {
  [ -e "$SLURM_CONF" ] || return 0
  scancel --full --signal=KILL --partition=local 2>/dev/null || true
  scancel --partition=local 2>/dev/null || true
  wait_until_none 40 squeue --noheader || true
  wait_until_none 10 find_steps || kill -KILL $(find_steps) || true
  pids=()
  for file in "$state"/{slurmctld,node1,node2,munge/munged}.pid; do
    [ -e "$file" ] && pids+=("$(cat "$file")")
  done
  kill "${pids[@]}" 2>/dev/null || true
  wait_until_none 10 find_alive "${pids[@]}" || kill -KILL $(find_alive "${pids[@]}") || true
  rm -rf "$state"
}

status() {
  if [ ! -e "$SLURM_CONF" ]; then
    echo "no cluster in $state"
    exit 1
  fi
  sinfo
  squeue
}

case ${1:-} in
start | stop | status) "$1" ;;
*)
  sed -n '2,5s/^# //p' "$0" >&2
  exit 2
  ;;
esac
