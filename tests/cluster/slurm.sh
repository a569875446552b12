#!/usr/bin/env bash
# A private SLURM of two virtual nodes on this machine, for tests: slurm.sh start|stop DIR; eval "$(slurm.sh env DIR)"
# `slurm.sh install` gets Debian's packages. Loopback only; no systemd, no cgroups. Outside DIR it touches two marked
# lines of /etc/hosts. What is started here runs on the processors that this script may use. Needs root.
set -euo pipefail
D=$(realpath -m "${2:-.}") PORT=${SLURM_TEST_PORT:-17817} TAG="# slurm-test"
export SLURM_CONF=$D/slurm.conf
alive() { [[ -s $1 ]] && kill -0 "$(<"$1")" 2>/dev/null; }

install() {
  command -v slurmctld slurmd munged srun >/dev/null && return
  local policy=/usr/sbin/policy-rc.d made=0  # packages must not start services of their own
  [[ -e $policy ]] || { printf '#!/bin/sh\nexit 101\n' >$policy; chmod +x $policy; made=1; }
  export DEBIAN_FRONTEND=noninteractive
  local get="apt-get install -y -qq --no-install-recommends slurmctld slurmd slurm-client munge"
  $get || { apt-get update -qq; $get; }
  [[ $made = 0 ]] || rm -f $policy
}

configure() {
  mkdir -p "$D"/{munge,ctld,log,run,bin}; chmod 755 "$D" "$D/munge"
  [[ -s $D/munge/key ]] || head -c 128 /dev/urandom >"$D/munge/key"
  chmod 600 "$D/munge/key"
  echo "CgroupAutomount=no" >"$D/cgroup.conf"
  cat >"$SLURM_CONF" <<CONF
ClusterName=test
SlurmctldHost=localhost(127.0.0.1)
SlurmctldPort=$PORT
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=$D/munge/socket
CredType=cred/munge
StateSaveLocation=$D/ctld
SlurmdSpoolDir=$D/run/%n
SlurmctldPidFile=$D/run/slurmctld.pid
SlurmdPidFile=$D/run/%n.pid
SlurmctldLogFile=$D/log/slurmctld.log
SlurmdLogFile=$D/log/%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
MpiDefault=none
SwitchType=switch/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SlurmdParameters=config_overrides
ReturnToService=2
KillWait=10
MinJobAge=3600
SchedulerParameters=batch_sched_delay=0,sched_interval=1,sched_min_interval=0
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SlurmctldParameters=preempt_send_user_signal
NodeName=sn1 NodeHostname=localhost NodeAddr=127.0.0.1 Port=$((PORT + 1)) CPUS=8 RealMemory=8000
NodeName=sn2 NodeHostname=localhost NodeAddr=127.0.0.1 Port=$((PORT + 2)) CPUS=8 RealMemory=8000
PartitionName=main Nodes=sn[1-2] Default=YES DefaultTime=60 PriorityTier=10 PreemptMode=OFF DefMemPerCPU=500
PartitionName=low Nodes=sn[1-2] DefaultTime=60 PriorityTier=1 GraceTime=60 DefMemPerCPU=500
PartitionName=urgent Nodes=sn[1-2] DefaultTime=60 PriorityTier=100 PreemptMode=OFF DefMemPerCPU=500
CONF
  # submitit asks sacct, which needs a database; finished jobs stay in the queue, so that squeue can answer
  cat >"$D/bin/sacct" <<'SACCT'
#!/bin/bash
ids=(); while (($#)); do case $1 in -j) ids+=("$2"); shift 2 ;; *) shift ;; esac; done
echo "JobID|State|NodeList"; exec squeue -h -r -t all -j "$(IFS=,; echo "${ids[*]}")" -o "%i|%T|%N"
SACCT
  chmod 755 "$D/bin/sacct"
  for node in sn1 sn2; do getent hosts $node >/dev/null || echo "127.0.0.1 $node $TAG" >>/etc/hosts; done
}

start() {
  configure
  munged --force --key-file="$D/munge/key" --socket="$D/munge/socket" --pid-file="$D/run/munged.pid" \
    --log-file="$D/log/munged.log" --seed-file="$D/munge/seed"
  slurmctld
  for node in sn1 sn2; do mkdir -p "$D/run/$node"; slurmd -N $node; done
  for _ in {1..150}; do
    [[ $(sinfo -h -p main -N -o %T 2>/dev/null | grep -c '^idle$') = 2 ]] && return
    sleep 0.2
  done
  sinfo; tail -n 20 "$D"/log/*.log; return 1
}

stop() {
  scancel --me 2>/dev/null || true
  local name pids=()
  for name in sn1 sn2 slurmctld munged; do
    if alive "$D/run/$name.pid"; then pids+=("$(<"$D/run/$name.pid")"); fi
  done
  [[ ${#pids[@]} = 0 ]] || kill "${pids[@]}"
  for _ in {1..75}; do kill -0 "${pids[@]}" 2>/dev/null || break; sleep 0.2; done
  local rest; rest=$(grep -vF "$TAG" /etc/hosts || true); echo "$rest" >/etc/hosts  # the same file: it may be mounted
}

case ${1:-} in
  install) install ;;
  start) start ;;
  stop) stop ;;
  env) echo "export SLURM_CONF=$SLURM_CONF PATH=$D/bin:\$PATH" ;;
  *) sed -n '2,4p' "$0"; exit 2 ;;
esac
