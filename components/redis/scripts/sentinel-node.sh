#!/bin/sh
# Runs one Sentinel. Environment as in redis-node.sh, and QUORUM, DOWN_AFTER and FAILOVER_TIMEOUT
# (milliseconds), PARALLEL_SYNCS. A Sentinel keeps its view in its configuration, which outlives its container.
set -eu
. "${SCRIPTS:-/etc/redis/scripts}/redis-master.sh"
DATA=${DATA:-/data}
ACCESS=${ACCESS:-/etc/redis/access}
OWN=$DATA/sentinel.conf

find_master() {
  master=$(master_by_sentinels)
  [ -n "$master" ] || master=$(master_by_role)
  [ -n "$master" ]
}

if [ ! -e "$OWN" ]; then
  until find_master; do sleep 1; done
  echo "the master is $master"
  umask 077
  {
    cat "${CONFIG:-/etc/redis/config}/sentinel.conf"
    echo "dir $DATA"
    # The same after a restart: another one would leave a dead Sentinel among the voters.
    echo "sentinel myid $(echo "$ANNOUNCE_HOST" | sha1sum | cut -c 1-40)"
    echo "sentinel announce-ip $ANNOUNCE_HOST"
    echo "sentinel announce-port ${ANNOUNCE_PORT:-$SENTINEL_PORT}"
    echo "sentinel monitor $MASTER_NAME $master $PORT $QUORUM"
    # Also one that follows nobody: taken for a replica that it should be, it is made one.
    for server in $SERVERS; do
      [ "$server" = "$master" ] || echo "sentinel known-replica $MASTER_NAME $server $PORT"
    done
    echo "sentinel down-after-milliseconds $MASTER_NAME $DOWN_AFTER"
    echo "sentinel failover-timeout $MASTER_NAME $FAILOVER_TIMEOUT"
    echo "sentinel parallel-syncs $MASTER_NAME $PARALLEL_SYNCS"
    echo "sentinel auth-user $MASTER_NAME sentinel"
    echo "sentinel auth-pass $MASTER_NAME $(cat "$ACCESS/sentinel")"
    echo "sentinel sentinel-user sentinel"
    echo "sentinel sentinel-pass $(cat "$ACCESS/sentinel")"
  } >"$OWN.new"
  mv "$OWN.new" "$OWN"
fi
exec redis-server "$OWN" --sentinel
