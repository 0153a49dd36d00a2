#!/bin/sh
# Brings the keys of RDB files back into a running Redis, of whatever topology and size.
#
# usage: restore-load.sh check|load FOLDER HOST,HOST,...     (pods of the target, any of them)
#
# A Redis of its own loads each file and sends its keys to their masters by MIGRATE, which keeps
# their expiry and does not care what is in them.
#
# Environment: REDIS_USER, REDISCLI_AUTH (may do everything), REDIS_TLS_ARGS (options of redis-cli)
# and REDIS_TLS_CONFIG (lines of redis.conf), REDIS_PORT (6379), PATIENCE (seconds that the target may
# take to answer, 60), OVERWRITE ("true" to restore into a
# Redis that holds keys and to replace those of the same name), SCRIPT (path of restore.lua).
set -eu
PORT=${REDIS_PORT:-6379}
WHAT=$1; FOLDER=$2; HOSTS=$(echo "$3" | tr ',' ' ')

fail() { echo "error: $*" >&2; exit 1; }
cli() {
  _host=$1; shift
  # shellcheck disable=SC2086 # REDIS_TLS_ARGS is a list
  redis-cli -e -h "$_host" -p "$PORT" --user "$REDIS_USER" ${REDIS_TLS_ARGS:-} "$@" | tr -d '\r'
}

# Masters of the target: host, first and last slot of each range; all slots for one that is no
# cluster.
masters() {
  for host in $HOSTS; do
    info=$(cli "$host" INFO 2>/dev/null) || continue
    if echo "$info" | grep -q '^cluster_enabled:1'; then
      cli "$host" CLUSTER NODES | awk '$3 ~ /master/ && $3 !~ /fail/ {
        split($2, address, ":")
        for (i = 9; i <= NF; i++) if ($i !~ /^\[/) {
          n = split($i, range, "-"); print address[1], range[1], range[n]
        }
      }'
      return
    elif echo "$info" | grep -q '^role:master'; then
      echo "$host 0 16383"
      return
    fi
  done
}
# A new pod is let in by network policies a moment after its start.
end=$(($(date +%s) + ${PATIENCE:-60}))
TARGETS=$(masters)
while [ -z "$TARGETS" ]; do
  [ "$(date +%s)" -lt "$end" ] || fail "none of $HOSTS answers as a master"
  sleep 1
  TARGETS=$(masters)
done
covered=$(echo "$TARGETS" | awk '{ n += $3 - $2 + 1 } END { print n + 0 }')
[ "$covered" = 16384 ] || fail "of 16384 slots $covered have a master; mend the cluster first"
HOLDERS=$(echo "$TARGETS" | awk '{ print $1 }' | sort -u)

if [ "$WHAT" = check ]; then
  keys=0
  for host in $HOLDERS; do
    here=$(cli "$host" INFO keyspace | awk -F'[=,]' '/^db/ { n += $2 } END { print n + 0 }')
    keys=$((keys + here))
  done
  [ "$keys" = 0 ] || [ "${OVERWRITE:-}" = true ] ||
    fail "the Redis to restore into holds $keys keys: empty it, or consent to replacing keys of" \
      "the same name (redisRestoreOverwrite)"
  exit 0
fi

SOCKET=$FOLDER/loader.sock
loader=
loads() { env -u REDISCLI_AUTH redis-cli -s "$SOCKET" "$@"; }
trap '[ -z "$loader" ] || kill -9 "$loader" 2>/dev/null || true' EXIT
for file in "$FOLDER"/shard-*.rdb; do
  printf '%s\n' "port 0" "unixsocket $SOCKET" "unixsocketperm 700" "dir $FOLDER" \
    "dbfilename ${file##*/}" 'save ""' "appendonly no" "daemonize no" "${REDIS_TLS_CONFIG:-}" |
    env -u REDISCLI_AUTH redis-server - >"$FOLDER/loader.log" &
  loader=$!
  until [ "$(loads PING 2>/dev/null)" = PONG ]; do
    kill -0 "$loader" 2>/dev/null || { cat "$FOLDER/loader.log" >&2; fail "could not load $file"; }
    sleep 0.2
  done
  # The password goes by standard input: arguments can be read by others on the node.
  sha=$(loads -x SCRIPT LOAD <"$SCRIPT")
  for db in $(loads INFO keyspace | sed -n 's/^db\([0-9]*\):.*/\1/p'); do
    said=$(echo "EVALSHA $sha 0 $db $PORT ${OVERWRITE:-false} $REDIS_USER $REDISCLI_AUTH" $TARGETS |
      loads)
    case $said in
      "restored "*) echo "${file##*/}, database $db: $said" ;;
      *) fail "${file##*/}, database $db: $said" ;;
    esac
  done
  if [ -n "$(loads FUNCTION LIST)" ]; then
    policy=APPEND; [ "${OVERWRITE:-}" != true ] || policy=REPLACE
    loads FUNCTION DUMP | head -c -1 >"$FOLDER/functions"
    for host in $HOLDERS; do
      said=$(cli "$host" -X dump FUNCTION RESTORE dump "$policy" <"$FOLDER/functions") || true
      case $said in
        OK | *"already exists"*) ;;
        *) fail "functions into $host: $said" ;;
      esac
    done
  fi
  kill -9 "$loader"; wait "$loader" 2>/dev/null || true; loader=
done
echo restored
