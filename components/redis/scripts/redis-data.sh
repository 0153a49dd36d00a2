# Functions of the start scripts; to be sourced. DATA is where Redis keeps its files.
#
# Redis reads its append-only log or its snapshot, as its configuration says, and never looks at the
# other: after a change of persistence, or with a snapshot put back from a backup, it would start
# without the data. https://redis.io/docs/latest/operate/oss_and_stack/management/persistence/
# shellcheck shell=sh
DATA=${DATA:-/data}
CONFIG=${CONFIG:-/etc/redis/config}
LOG=$DATA/appendonlydir
SNAPSHOT=$DATA/dump.rdb

# Bring the data into the form that the configuration reads.
carry_data_over() {
  if grep -q '^appendonly yes' "$CONFIG/redis.conf"; then
    snapshot_into_log
  else
    log_into_snapshot
  fi
}

snapshot_into_log() {
  [ -e "$SNAPSHOT" ] && [ ! -e "$LOG/appendonly.aof.manifest" ] || return 0
  rm -rf "$LOG"
  mkdir "$LOG"
  cp "$SNAPSHOT" "$LOG/appendonly.aof.1.base.rdb"
  echo "file appendonly.aof.1.base.rdb seq 1 type b" >"$LOG/appendonly.aof.manifest"
}

log_into_snapshot() {
  [ -e "$LOG/appendonly.aof.manifest" ] || return 0
  # A server that was told to stop has written a snapshot last; one that was killed has not.
  if [ ! -e "$SNAPSHOT" ] || [ -n "$(find "$LOG" -type f -newer "$SNAPSHOT")" ]; then
    redis-server "$CONFIG/redis.conf" --dir "$DATA" --tls-port 0 --unixsocket /tmp/convert.sock \
      --appendonly yes &
    server=$!
    convert="redis-cli -s /tmp/convert.sock --user $REDIS_USER"
    until [ "$($convert PING 2>/dev/null)" = PONG ]; do
      kill -0 $server
      sleep 0.2
    done
    [ "$($convert SAVE)" = OK ]
    $convert SHUTDOWN NOSAVE
    wait $server || true
  fi
  rm -rf "$LOG"
}
