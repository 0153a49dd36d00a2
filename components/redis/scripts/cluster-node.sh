#!/bin/sh
# Runs one node of a Redis Cluster.
#
# Environment: POD_NAME, POD_IP, ANNOUNCE_DOMAIN (of the pods' DNS names), and of an administrator
# REDIS_USER, REDISCLI_AUTH, REDIS_TLS_ARGS.
set -eu
. "${SCRIPTS:-/etc/redis/scripts}/redis-data.sh"
PORT=${REDIS_PORT:-6379}

at() { # host, command...
  _host=$1
  shift
  # shellcheck disable=SC2086 # a list of options
  timeout 5 redis-cli -e -h "$_host" -p "$PORT" ${REDIS_USER:+--user "$REDIS_USER"} \
    ${REDIS_TLS_ARGS:-} "$@"
}
cli() { at "${REDIS_LOCAL_HOST:-127.0.0.1}" "$@"; }

# A pod comes back with another address. Peers that know this node learn it from this node's pings,
# but when several come back together, nobody knows a right address any more. Names stay: meet, by
# name, everyone who does not answer and has another address by now. For as long as the pod lives,
# since who does not answer is known only after a while. Only nodes that this one knows already are
# met. One without an address has been found under another id: it may be leaving the cluster, reset
# and not forgotten everywhere yet, and must not come back by itself.
rejoin() {
  until [ "$(cli PING 2>/dev/null)" = PONG ]; do sleep 0.5; done
  while :; do
    cli CLUSTER NODES 2>/dev/null | awk '
      $3 !~ /myself|handshake/ && ($3 ~ /fail|noaddr/ || $8 != "connected") {
        split($2, part, ","); split(part[1], address, ":")
        if (part[2] != "") print $1, part[2], address[1]
      }' | while read -r id host known; do
      ip=$(getent ahostsv4 "$host" | awk '{ print $1; exit }')
      [ -n "$ip" ] && [ "$ip" != "$known" ] || continue
      [ -n "$known" ] || [ "$(at "$ip" CLUSTER MYID 2>/dev/null </dev/null)" = "$id" ] || continue
      cli CLUSTER MEET "$ip" "$PORT" >/dev/null </dev/null || true
    done
    follow_master || true
    sleep 3
  done
}

# When a node learns its master's new address from others (gossip), Redis up to 8.0 goes on copying
# from the old one.
follow_master() {
  nodes=$(cli CLUSTER NODES 2>/dev/null)
  master=$(echo "$nodes" | awk '$3 ~ /myself/ && $4 != "-" { print $4 }')
  address=$(echo "$nodes" | awk -v id="$master" '$1 == id { split($2, part, ":"); print part[1] }')
  replication=$(cli INFO replication 2>/dev/null | tr -d '\r')
  case $replication in *master_link_status:down*) ;; *) return 0 ;; esac
  [ -z "$address" ] || echo "$replication" | grep -qx "master_host:$address" ||
    cli CLUSTER REPLICATE "$master" >/dev/null
}

carry_data_over
rejoin &
exec redis-server "$CONFIG/redis.conf" --dir "$DATA" \
  --cluster-announce-hostname "$POD_NAME.$ANNOUNCE_DOMAIN" --cluster-announce-ip "$POD_IP"
