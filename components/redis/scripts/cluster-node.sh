#!/bin/sh
# Runs one node of a Redis Cluster.
#
# Environment: POD_NAME, POD_IP, ANNOUNCE_DOMAIN (of the pods' DNS names), and of an administrator
# REDIS_USER, REDISCLI_AUTH, REDIS_TLS_ARGS.
set -eu
. "${SCRIPTS:-/etc/redis/scripts}/redis-data.sh"
PORT=${REDIS_PORT:-6379}

cli() {
  # shellcheck disable=SC2086 # a list of options
  timeout 5 redis-cli -e -h "${REDIS_LOCAL_HOST:-127.0.0.1}" -p "$PORT" \
    ${REDIS_USER:+--user "$REDIS_USER"} ${REDIS_TLS_ARGS:-} "$@"
}

# A pod comes back with another address. Peers that know this node learn it from this node's pings,
# but when several come back together, nobody knows a right address any more. Names stay: meet
# everyone whose link is down by name, until all links are up. Only nodes that this one knows
# already are met, so one that was removed from the cluster does not come back by itself.
rejoin() {
  until [ "$(cli PING 2>/dev/null)" = PONG ]; do sleep 0.5; done
  while :; do
    lost=$(cli CLUSTER NODES | awk '$3 !~ /myself|handshake/ && $8 != "connected" {
      split($2, part, ","); if (part[2] != "") print part[2] }')
    [ -n "$lost" ] || return 0
    for host in $lost; do
      ip=$(getent ahostsv4 "$host" | awk '{ print $1; exit }')
      [ -z "$ip" ] || cli CLUSTER MEET "$ip" "$PORT" >/dev/null || true
    done
    sleep 2
  done
}

carry_data_over
rejoin &
exec redis-server "$CONFIG/redis.conf" --dir "$DATA" \
  --cluster-announce-hostname "$POD_NAME.$ANNOUNCE_DOMAIN" --cluster-announce-ip "$POD_IP"
