#!/usr/bin/env bash
# Two "hosts" on this machine, as network namespaces with a cable between them: netns.sh up|cut|down. Needs root.
set -euo pipefail
case ${1:-} in
  up)
    for i in 1 2; do ip netns add mezzotint$i; ip -n mezzotint$i link set lo up; done
    ip link add mezzo1 netns mezzotint1 type veth peer name mezzo2 netns mezzotint2
    for i in 1 2; do ip -n mezzotint$i addr add 10.77.0.$i/24 dev mezzo$i; ip -n mezzotint$i link set mezzo$i up; done ;;
  cut) ip -n mezzotint2 link set mezzo2 down ;;
  down) for i in 1 2; do ip netns del mezzotint$i 2>/dev/null || true; done ;;
  *) sed -n 2p "$0"; exit 2 ;;
esac
