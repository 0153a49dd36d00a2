#!/bin/sh
# Before a node stops: a master hands over to the replica that is furthest, and waits until clients
# are sent there. Environment as in cluster-node.sh; HANDOVER_SECONDS (20) bounds it.
set -eu
PORT=${REDIS_PORT:-6379}

cli() {
  _host=$1; shift
  # shellcheck disable=SC2086 # a list of options
  timeout 5 redis-cli -e -h "$_host" -p "$PORT" ${REDIS_USER:+--user "$REDIS_USER"} \
    ${REDIS_TLS_ARGS:-} "$@" | tr -d '\r'
}
HERE=${REDIS_LOCAL_HOST:-127.0.0.1}
END=$(($(date +%s) + ${HANDOVER_SECONDS:-20}))

replication() { cli "$HERE" INFO replication; }
is_master() { replication | grep -q '^role:master'; }

asked=0
while is_master && [ "$(date +%s)" -lt "$END" ]; do
  # A manual failover holds writes back until the replica has them all; it gives up after 5 s.
  if [ $(($(date +%s) - asked)) -ge 6 ]; then
    replica=$(replication | sed -n 's/^slave[0-9]*:ip=\([^,]*\),.*state=online,offset=\([0-9]*\),.*/\2 \1/p' |
      sort -rn | awk 'NR == 1 { print $2 }')
    [ -n "$replica" ] || exit 0 # nobody to hand over to
    cli "$replica" CLUSTER FAILOVER >/dev/null || true
    asked=$(date +%s)
  fi
  sleep 0.1
done
