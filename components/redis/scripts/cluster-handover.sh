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

replication() { cli "$HERE" INFO replication | tr -d '\r'; }
is_master() { replication | grep -q '^role:master'; }

# Of the replicas in reach the one that is furthest.
best_replica() {
  cli "$HERE" CLUSTER REPLICAS "$(cli "$HERE" CLUSTER MYID)" | awk '
    $3 !~ /fail/ && $8 == "connected" { split($2, address, ":"); print address[1] }' |
    while read -r ip; do
      offset=$(cli "$ip" INFO replication 2>/dev/null | tr -d '\r' | sed -n 's/^slave_repl_offset://p')
      [ -z "$offset" ] || echo "$offset $ip"
    done | sort -rn | awk 'NR == 1 { print $2 }'
}

asked=0
while is_master && [ "$(date +%s)" -lt "$END" ]; do
  # A manual failover holds writes back until the replica has them all; it gives up after 5 s.
  if [ $(($(date +%s) - asked)) -ge 6 ]; then
    replica=$(best_replica)
    [ -n "$replica" ] || exit 0 # nobody to hand over to
    cli "$replica" CLUSTER FAILOVER >/dev/null || true
    asked=$(date +%s)
  fi
  sleep 0.1
done
