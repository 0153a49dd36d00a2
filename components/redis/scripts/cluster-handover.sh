#!/bin/sh
# Before a node stops: a master hands over to the replica that is furthest, and waits until clients
# are sent there. Environment as in cluster-node.sh; HANDOVER_SECONDS (20) bounds it.
set -eu
PORT=${REDIS_PORT:-6379}

cli() {
  _host=$1; shift
  # shellcheck disable=SC2086 # a list of options
  timeout 5 redis-cli -e -h "$_host" -p "$PORT" ${REDIS_USER:+--user "$REDIS_USER"} \
    ${REDIS_TLS_ARGS:-} "$@"
}
HERE=${REDIS_LOCAL_HOST:-127.0.0.1}
END=$(($(date +%s) + ${HANDOVER_SECONDS:-20}))

# No answer, as may be under load, is no sign of anything.
replication_is() { cli "$HERE" INFO replication 2>/dev/null | tr -d '\r' | grep -qx "$1"; }

# Addresses of the replicas that are not down. A new one copies before it is known as a replica.
replicas() {
  cli "$HERE" CLUSTER REPLICAS "$(cli "$HERE" CLUSTER MYID)" 2>/dev/null |
    awk 'NF > 7 && $3 !~ /fail|noaddr/ { split($2, address, ":"); print address[1] }'
}

# Of some addresses that of the replica that is furthest.
furthest() {
  for _ip in "$@"; do
    _offset=$(cli "$_ip" INFO replication 2>/dev/null | tr -d '\r' | sed -n 's/^slave_repl_offset://p')
    [ -z "$_offset" ] || echo "$_offset $_ip"
  done | sort -rn | awk 'NR == 1 { print $2 }'
}

asked=0
until replication_is role:slave || [ "$(date +%s)" -ge "$END" ]; do
  ! replication_is connected_slaves:0 || exit 0 # nobody to hand over to
  # A manual failover holds writes back until the replica has them all; it gives up after 5 s.
  if [ $(($(date +%s) - asked)) -ge 6 ]; then
    # shellcheck disable=SC2046 # a list
    replica=$(furthest $(replicas))
    if [ -n "$replica" ]; then
      cli "$replica" CLUSTER FAILOVER >/dev/null 2>&1 || true
      asked=$(date +%s)
    fi
  fi
  sleep 0.1
done
