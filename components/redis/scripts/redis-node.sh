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

# The master that others name within $1 seconds, which may be this server; fails when they name none.
# The network may let a new pod in a moment late: a master that took silence for an answer would be
# a second one, and without its data an empty one, which replicas copy.
named() {
  end=$(($(date +%s) + $1))
  while :; do
    found=$(master_by_sentinels)
    if [ "$found" = "$ANNOUNCE_HOST" ]; then
      found=$(replaced)
      echo "${found:-$ANNOUNCE_HOST}"
      return 0
    fi
    [ -n "$found" ] || found=$(master_by_role)
    [ -z "$found" ] || { echo "$found"; return 0; }
    [ "$(date +%s)" -lt "$end" ] || return 1
    sleep 0.5
  done
}

# What this server was when its configuration was last written.
remembered() {
  _of=$(sed -n 's/^replicaof "\{0,1\}\([^ "]*\)"\{0,1\} .*/\1/p' "$OWN")
  echo "${_of:-$ANNOUNCE_HOST}"
}

# Nobody is up before the first server has started: it does not wait for others where its folder
# tells that it is new.
keeps_data() { grep -q '^appendonly yes\|^save [^"]' "$CONFIG/redis.conf"; }
first=${SERVERS%% *}
if [ -e "$OWN" ]; then
  master=$(named 10) || master=$(remembered)
elif [ "$first" != "$ANNOUNCE_HOST" ]; then
  # Who took the first server for the master too early could follow a replica: no Sentinel sees that.
  master=$(named 60) || master=$first
elif keeps_data; then
  master=$(named 0) || master=$first
else
  master=$(named 10) || master=$first
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
