#!/bin/sh
# Runs one Redis of a master and its replicas: finds out who is master, then starts as its replica,
# or as the master.
#
# Environment: ANNOUNCE_HOST (this pod's DNS name), SERVERS and SENTINELS (DNS names of all, with
# spaces between), MASTER_NAME, and REDIS_USER, REDISCLI_AUTH, REDIS_TLS_ARGS of an administrator.
set -eu
. "${SCRIPTS:-/etc/redis/scripts}/redis-data.sh"
. "${SCRIPTS:-/etc/redis/scripts}/redis-master.sh"
OWN=$DATA/redis.conf

# Sentinels call this server the master, so it stopped and they have not missed it yet, or are about
# to replace it. With its log it knows every write that it acknowledged; without, a replica knows
# more. Prints the new master; nothing when this server is to be the master still.
replaced() {
  end=$(($(date +%s) + 60))
  while [ "$(date +%s)" -lt "$end" ]; do
    now=$(master_by_sentinels)
    [ -z "$now" ] || [ "$now" = "$ANNOUNCE_HOST" ] || { echo "$now"; return 0; }
    promoted=$(master_by_role)
    [ -z "$promoted" ] || { echo "$promoted"; return 0; }
    if ! failover_in_progress; then
      [ ! -e "$LOG/appendonly.aof.manifest" ] || return 0
      case $(any_sentinel SENTINEL FAILOVER "$MASTER_NAME" 2>&1) in *NOGOODSLAVE*) return 0 ;; esac
    fi
    sleep 0.5
  done
}

# Nobody answers: what this server was when its configuration was last written.
remembered() {
  [ -e "$OWN" ] || return 1
  sed -n 's/^replicaof "\{0,1\}\([^ "]*\)"\{0,1\} .*/\1/p' "$OWN"
}

# Nobody answers a server that never was: either all start for the first time, and the first of them
# is the master, or the network lets a new pod in a moment late. Who took the first server for the
# master without asking again could follow a replica, which no Sentinel would see.
first_master() {
  master=${SERVERS%% *}
  end=$(($(date +%s) + 60))
  while [ "$master" != "$ANNOUNCE_HOST" ] && [ "$(date +%s)" -lt "$end" ]; do
    found=$(master_by_sentinels)
    [ "$found" != "$ANNOUNCE_HOST" ] || { master=$(replaced); return 0; }
    [ -n "$found" ] || found=$(master_by_role)
    [ -z "$found" ] || { master=$found; return 0; }
    sleep 0.5
  done
}

if master=$(master_by_sentinels) && [ -n "$master" ]; then
  [ "$master" != "$ANNOUNCE_HOST" ] || master=$(replaced)
elif master=$(master_by_role) && [ -n "$master" ]; then
  :
elif master=$(remembered); then
  :
else
  first_master
fi
[ "$master" != "$ANNOUNCE_HOST" ] || master=
echo "starting as ${master:+replica of }${master:-master}"

umask 077
carry_data_over
{
  cat "$CONFIG/redis.conf"
  echo "dir $DATA"
  echo "replica-announce-ip $ANNOUNCE_HOST"
  echo "replica-announce-port ${ANNOUNCE_PORT:-$PORT}"
  [ -z "$master" ] || echo "replicaof $master $PORT"
} >"$OWN"
exec redis-server "$OWN"
