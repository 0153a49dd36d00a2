#!/bin/sh
# Writes one RDB file a shard, as replicas get it, with a digest each.
#
# usage: backup-dump.sh FOLDER HOST,HOST,... [HOST,HOST,...]...   (one argument a shard: its pods)
#
# Environment: LOOK_USER, LOOK_PASSWORD (may INFO and CLUSTER NODES), COPY_USER, COPY_PASSWORD (may
# PSYNC), REDIS_TLS_ARGS (options of redis-cli), REDIS_PORT (6379), PATIENCE (seconds that a shard
# may take to answer, 60).
set -eu
PORT=${REDIS_PORT:-6379}
PATIENCE=${PATIENCE:-60}
FOLDER=$1; shift

fail() { echo "error: $*" >&2; exit 1; }
look() {
  _host=$1; shift
  # shellcheck disable=SC2086 # REDIS_TLS_ARGS is a list
  REDISCLI_AUTH=$LOOK_PASSWORD timeout 15 redis-cli -e -h "$_host" -p "$PORT" \
    --user "$LOOK_USER" ${REDIS_TLS_ARGS:-} "$@" | tr -d '\r'
}

# Whom to copy of a shard: a replica in step, to spare its master, else the master.
source_of() {
  echo "$1" | tr ',' '\n' | while read -r host; do
    info=$(look "$host" INFO replication 2>/dev/null) || continue
    case $info in
      *role:slave*master_link_status:up*) echo "1 $host" ;;
      *role:master*) echo "2 $host" ;;
    esac
  done | sort -s -n | awk 'NR == 1 { print $2 }'
}

# The same, waited for: a new pod is let in by network policies a moment after its start.
found_source_of() {
  end=$(($(date +%s) + PATIENCE))
  while :; do
    found=$(source_of "$1")
    [ -z "$found" ] || { echo "$found"; return; }
    [ "$(date +%s)" -lt "$end" ] || return 0
    sleep 1
  done
}

# Who owns which slot, and that no slot is on its way.
slots() {
  look "$1" INFO cluster | grep -q '^cluster_enabled:1' || return 0
  look "$1" CLUSTER NODES | awk '$3 ~ /master/ && NF > 8 {
    line = $1; for (i = 9; i <= NF; i++) line = line " " $i; print line }' | sort
}

[ $# -ge 1 ] || fail "nothing to back up"
FIRST=$(found_source_of "$1")
[ -n "$FIRST" ] || fail "no pod of $1 answers as a master or as a replica in step"
BEFORE=$(slots "$FIRST")

number=0
for shard in "$@"; do
  host=$(found_source_of "$shard")
  [ -n "$host" ] || fail "no pod of $shard answers as a master or as a replica in step"
  file=$FOLDER/shard-$number.rdb
  echo "copying $host"
  # shellcheck disable=SC2086
  REDISCLI_AUTH=$COPY_PASSWORD redis-cli -h "$host" -p "$PORT" --user "$COPY_USER" \
    ${REDIS_TLS_ARGS:-} --rdb "$file" >/dev/null || fail "could not copy $host"
  redis-check-rdb "$file" >/dev/null || fail "the copy of $host is not a whole RDB file"
  number=$((number + 1))
done
# A key whose slot moved between two copies may be in neither.
[ "$(slots "$FIRST")" = "$BEFORE" ] || fail "slots moved or masters changed meanwhile; try again"

cd "$FOLDER"
sha256sum shard-*.rdb > SHA256SUMS
date -u +%Y-%m-%dT%H%M%SZ > NAME
echo "$number shards, $(du -sh . | awk '{ print $1 }')"
