#!/bin/sh
# Brings a Redis Cluster to the wanted layout, from whatever state it is in, and ends.
#
# usage: cluster-layout.sh HOST,HOST,... HOST,HOST,... ...    (one argument a shard: its members)
#
# Environment: REDISCLI_AUTH (password), REDIS_USER, REDIS_TLS_ARGS (options of redis-cli),
# REDIS_PORT (6379), PATIENCE (seconds that one step may wait, 120), MEMORY_PERCENT (how full a
# shard may get, 95).
#
# Every step looks first and acts only on what is not as wanted, so a run that was killed is
# finished by the next one. At most one run at a time: the Job that runs it sees to that.
set -eu

PORT=${REDIS_PORT:-6379}
PATIENCE=${PATIENCE:-120}
MEMORY_PERCENT=${MEMORY_PERCENT:-95}
SLOTS=16384

say() { echo "$(date -u +%H:%M:%S) $*"; }
fail() { say "error: $*" >&2; exit 1; }
hopeless() { say "error: $*" >&2; exit 3; } # where another try can't help

# One command to one node. An error reply is a failure (-e).
cli() {
  _host=$1; shift
  # shellcheck disable=SC2086 # REDIS_TLS_ARGS is a list
  _reply=$(timeout 15 redis-cli -e -h "$_host" -p "$PORT" ${REDIS_USER:+--user "$REDIS_USER"} \
    ${REDIS_TLS_ARGS:-} "$@" 2>&1) || { echo "$_host: $_reply" >&2; return 1; }
  printf '%s\n' "$_reply" | tr -d '\r'
}

# The cluster manager of redis-cli: `manage COMMAND HOST [option]...`.
manage() {
  _command=$1; _host=$2; shift 2
  # shellcheck disable=SC2086
  redis-cli ${REDIS_USER:+--user "$REDIS_USER"} ${REDIS_TLS_ARGS:-} \
    --cluster "$_command" "$_host:$PORT" "$@"
}

# Wait until a command succeeds: `wait_for "what" command...`.
wait_for() {
  _what=$1; shift
  _end=$(($(date +%s) + PATIENCE))
  until "$@" >/dev/null 2>&1; do
    [ "$(date +%s)" -lt "$_end" ] || fail "waited ${PATIENCE} s in vain for $_what"
    sleep 0.2
  done
}

field() { cli "$1" "$2" "$3" | sed -n "s/^$4://p"; }   # host, INFO section, its field
cluster_field() { cli "$1" CLUSTER INFO | sed -n "s/^$2://p"; }
id_of() { echo "$IDS" | awk -v host="$1" '$1 == host { print $2 }'; }
wanted_id() { echo "$IDS" | awk -v id="$1" '$2 == id { found = 1 } END { exit !found }'; }
address() { getent ahostsv4 "$1" | awk '{ print $1; exit }'; }

# Table of the nodes that the seed knows: id, ip, flags, id of the master or "-", number of slots.
table() {
  cli "$SEED" CLUSTER NODES | awk 'NF >= 8 {
    split($2, address, ":"); slots = 0
    for (i = 9; i <= NF; i++) if ($i !~ /^\[/) {
      n = split($i, range, "-"); slots += n == 2 ? range[2] - range[1] + 1 : 1
    }
    print $1, address[1], $3, $4, slots
  }'
}
slots_of() { table | awk -v id="$1" '$1 == id { print $5 }'; }

[ $# -ge 3 ] || hopeless "a cluster has at least 3 shards, not $#"

# --- who is there ---------------------------------------------------------------------------------

HOSTS=$(printf '%s\n' "$@" | tr ',' '\n')
answers() { [ "$(cli "$1" PING)" = PONG ]; }
IDS=
for host in $HOSTS; do
  wait_for "$host to answer (its pod starts, loads or is down)" answers "$host"
  IDS="$IDS$host $(cli "$host" CLUSTER MYID)
"
done

# The seed speaks for the cluster that exists: of those that own slots, whoever knows most nodes.
SEED=; known=0; owners=0
for host in $HOSTS; do
  own=$(cli "$host" CLUSTER NODES | awk '$3 ~ /myself/ { print NF - 8 }')
  [ "$own" -gt 0 ] || continue
  owners=$((owners + 1))
  count=$(cluster_field "$host" cluster_known_nodes)
  [ "$count" -le "$known" ] || { SEED=$host; known=$count; }
done
[ -n "$SEED" ] || SEED=${1%%,*}
say "seed $SEED; $owners of the wanted nodes own slots"

# --- everyone meets -------------------------------------------------------------------------------

known_to_seed() { table | awk -v id="$1" '$1 == id && $3 !~ /handshake/ { found = 1 } END { exit !found }'; }
blank() {
  [ "$(cluster_field "$1" cluster_known_nodes)" = 1 ] && [ "$(cli "$1" DBSIZE)" = 0 ] &&
    cli "$1" CLUSTER NODES | awk '$3 ~ /myself/ && NF > 8 { exit 1 }'
}
strangers=$(for host in $HOSTS; do known_to_seed "$(id_of "$host")" || echo "$host"; done)
epoch=0
for host in $strangers; do
  epoch=$((epoch + 1))
  # During formation a shard that was cut off may own its first slots but no keys yet.
  blank "$host" || [ "$(cli "$host" DBSIZE)" = 0 -a "$(cluster_field "$host" cluster_known_nodes)" = 1 ] ||
    hopeless "$host holds data or a membership of an earlier cluster, so it can't join." \
      "If its data is not needed: redis-cli -h $host FLUSHALL, then CLUSTER RESET HARD, and run again"
  # Distinct epochs from the start spare the cluster from settling collisions one by one.
  [ "$owners" -gt 0 ] || cli "$host" CLUSTER SET-CONFIG-EPOCH "$epoch" >/dev/null || true
  [ "$host" = "$SEED" ] || {
    say "$host joins"
    cli "$SEED" CLUSTER MEET "$(address "$host")" "$PORT" >/dev/null
  }
done
for host in $HOSTS; do
  wait_for "$host to be known to $SEED" known_to_seed "$(id_of "$host")"
done
everyone_knows() {
  for host in $HOSTS; do
    cli "$host" CLUSTER NODES | awk -v ids="$(echo "$IDS" | awk '{ print $2 }' | tr '\n' ' ')" '
      $3 !~ /handshake/ { seen[$1] = 1 }
      END { n = split(ids, id, " "); for (i = 1; i <= n; i++) if (!(id[i] in seen)) exit 1 }' || return 1
  done
}
wait_for "all nodes to know each other" everyone_knows

# --- one master a shard, its other members are replicas -----------------------------------------

role() { field "$1" INFO replication role; }
# Of a shard's members the master with most slots; "" if all are replicas.
master_of() {
  echo "$1" | tr ',' '\n' | while read -r member; do
    [ "$(role "$member")" = master ] || continue
    echo "$(slots_of "$(id_of "$member")") $member"
  done | sort -s -rn -k1,1 | awk 'NR == 1 { print $2 }'
}
MASTERS=
for shard in "$@"; do
  master=$(master_of "$shard")
  [ -n "$master" ] || hopeless "no member of the shard $shard is a master; each follows one of another" \
    "shard. Make one a master: redis-cli -h ${shard%%,*} CLUSTER RESET SOFT (its copy is dropped)"
  MASTERS="$MASTERS$master
"
done

# --- slots ----------------------------------------------------------------------------------------

# First formation: a contiguous range each. Whoever has its range already is left alone.
assigned() { table | awk '{ n += $5 } END { print n }'; }
if [ "$(assigned)" -lt $SLOTS ]; then
  i=0
  for master in $MASTERS; do
    first=$((i * SLOTS / $#)); i=$((i + 1)); last=$((i * SLOTS / $# - 1))
    [ "$(cli "$master" CLUSTER NODES | awk '$3 ~ /myself/ { print NF - 8 }')" -gt 0 ] || {
      say "$master gets slots $first-$last"
      # A slot that somebody else owns after all is left to him; the rest is fixed below.
      cli "$master" CLUSTER ADDSLOTSRANGE "$first" "$last" || true
    }
  done
fi

agreed() {
  _check=$(manage check "$SEED") || true
  ! echo "$_check" | grep -q "Nodes don't agree\|still in handshake"
}
wait_for "all nodes to agree on who owns which slot" agreed
# Nothing can be moved from a shard that is down, and nothing may be given away that it holds.
down() { table | awk '$3 ~ /fail/ && $5 > 0 { print $1 }'; }
none_down() { [ -z "$(down)" ]; }
for id in $(down); do
  wanted_id "$id" || hopeless "node $id is down and owns slots: no key can be moved from it." \
    "Bring its pod back, or let a replica take over, and run again"
done
wait_for "all masters to be in reach" none_down
# Finishes slots that a killed run left open. It never takes slots from a master that is down.
unfinished() { echo "$1" | grep -q 'slots are open\|slots in .* state\|Not all .* slots are covered'; }
if unfinished "$(manage check "$SEED" 2>&1)"; then
  say "finishing what an earlier run left"
  manage fix "$SEED" --cluster-yes
fi

joins() { # a master without slots becomes a replica of its shard's master; so does a stray replica
  _member=$1; _master=$2
  [ "$_member" != "$_master" ] || return 0
  _now=$(table | awk -v id="$(id_of "$_member")" '$1 == id { print $4, $5 }')
  [ "${_now%% *}" != "$(id_of "$_master")" ] || return 0
  [ "${_now##* }" = 0 ] || return 0 # emptied first, below
  say "$_member replicates $_master"
  cli "$_member" CLUSTER REPLICATE "$(id_of "$_master")" >/dev/null
}
follow() {
  _i=0
  for _shard in "$@"; do
    _i=$((_i + 1)); _of=$(echo "$MASTERS" | sed -n "${_i}p")
    for _one in $(echo "$_shard" | tr ',' ' '); do joins "$_one" "$_of"; done
  done
}
follow "$@"

linked() { [ "$(role "$1")" = master ] || [ "$(field "$1" INFO replication master_link_status)" = up ]; }
in_step() {
  for host in $HOSTS; do wait_for "$host to be in step with its master" linked "$host"; done
}

all_ok() {
  for _node in $HOSTS; do [ "$(cluster_field "$_node" cluster_state)" = ok ] || return 1; done
}

# --- slots to where they belong -----------------------------------------------------------------

WEIGHTS=; leaving=0
for row in $(table | awk '$5 > 0 { print $1 "," $3 "," $2 "," $5 }'); do
  id=${row%%,*}
  for master in $MASTERS; do [ "$(id_of "$master")" != "$id" ] || continue 2; done
  WEIGHTS="$WEIGHTS $id=0"; leaving=$((leaving + ${row##*,}))
done

spread=$(for master in $MASTERS; do slots_of "$(id_of "$master")"; done |
  awk 'NR == 1 { low = high = $1 } { low = $1 < low ? $1 : low; high = $1 > high ? $1 : high }
       END { print high - low }')
# redis-cli places the remainder of 16384 / N as it comes: not worth moving keys again.
if [ "$leaving" -gt 0 ] || [ "$spread" -gt $# ]; then
  # What is moved must fit: a full shard would refuse it, or evict keys to make room.
  used=0
  for ip in $(table | awk '$5 > 0 { print $2 }'); do
    used=$((used + $(field "$ip" INFO memory used_memory) - $(field "$ip" INFO memory used_memory_startup)))
  done
  for master in $MASTERS; do
    limit=$(field "$master" INFO memory maxmemory)
    [ "$limit" -gt 0 ] || continue
    after=$((used / $# + $(field "$master" INFO memory used_memory_startup)))
    [ "$after" -le $((limit / 100 * MEMORY_PERCENT)) ] ||
      hopeless "the data does not fit: $# shards would hold $((after / 1048576)) MiB each, and maxmemory" \
        "of $master is $((limit / 1048576)) MiB ($MEMORY_PERCENT % of it may be used)." \
        "Raise the memory of the shards or keep more of them. Nothing was moved"
  done
  in_step # a shard may refuse writes, moved keys too, while it has no replica
  # A node that has just joined takes no keys before it finds the cluster well.
  wait_for "all nodes to find the cluster ok" all_ok
  say "moving slots: $leaving leave shards that are not wanted, spread of the others $spread"
  # shellcheck disable=SC2086
  {
    manage rebalance "$SEED" --cluster-use-empty-masters --cluster-threshold 0.01 \
      --cluster-pipeline 100 --cluster-timeout 60000 ${WEIGHTS:+--cluster-weight $WEIGHTS} 2>&1 ||
      echo "*** stopped"
  } | awk '/^(\[ERR|\*\*\*|ERR)/ { print; bad = 1 } /^Moving [0-9]+ slots/ { print }
           END { exit bad }' || fail "not all slots could be moved; the next try goes on"
  settled() { agreed && ! unfinished "$_check"; }
  wait_for "the moves to be known everywhere" settled
  for weight in $WEIGHTS; do
    left=$(slots_of "${weight%=0}")
    [ "$left" = 0 ] || fail "$left slots are still on node ${weight%=0}: see the messages above"
  done
  follow "$@"
fi

# --- who is not wanted leaves, replicas first ---------------------------------------------------

for row in $(table | awk '{ print ($3 ~ /slave/ ? 0 : 1) "," $1 "," $2 "," $5 }' | sort); do
  IFS=, read -r _ id ip slots <<ROW
$row
ROW
  ! wanted_id "$id" || continue
  [ "$slots" = 0 ] || fail "node $id owns $slots slots and can't be removed"
  say "removing node $id ($ip)"
  # Redis refuses this to a master with keys. An address that another node has by now is left alone.
  if [ -n "$ip" ] && [ "$(cli "$ip" CLUSTER MYID || true)" = "$id" ]; then
    cli "$ip" CLUSTER RESET HARD >/dev/null
  fi
  for host in $HOSTS; do
    cli "$host" CLUSTER FORGET "$id" >/dev/null || true # "Unknown node": he never knew it
  done
done

# --- as wanted ------------------------------------------------------------------------------------

in_step
# A master hands over only to whom it knows as its replica, and others vote only for such.
all_replicas_known() {
  for _node in $HOSTS; do
    [ "$(cli "$_node" CLUSTER NODES | awk '$3 ~ /slave/ { n++ } END { print n + 0 }')" = \
      $(($(echo "$HOSTS" | wc -l) - $#)) ] || return 1
  done
}
complete() { all_ok && agreed && all_replicas_known "$@"; }
wait_for "the cluster to be ok" complete "$@"
table | awk '$5 > 0 { print $1, $5 " slots" }'
say "the cluster is as wanted"
