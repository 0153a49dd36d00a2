# Functions that find the master; to be sourced. Environment as in redis-node.sh; SERVERS and
# SENTINELS may be in the file `members` beside the configuration.
# shellcheck shell=sh
CONFIG=${CONFIG:-/etc/redis/config}
# shellcheck disable=SC1091 # made by the component
[ ! -e "$CONFIG/members" ] || . "$CONFIG/members"
PORT=${REDIS_PORT:-6379}
SENTINEL_PORT=${SENTINEL_PORT:-26379}

cli() { # host, port, command...
  _host=$1
  _port=$2
  shift 2
  # shellcheck disable=SC2086 # a list of options
  timeout 3 redis-cli -e -h "$_host" -p "$_port" ${REDIS_USER:+--user "$REDIS_USER"} \
    ${REDIS_TLS_ARGS:-} "$@" | tr -d '\r'
}

# A command to the first Sentinel that carries it out; fails when none does.
any_sentinel() {
  for _sentinel in $SENTINELS; do
    _reply=$(cli "$_sentinel" "$SENTINEL_PORT" "$@" 2>&1) || true
    case $_reply in
      '' | *"Could not connect"* | *Timeout* | *"Connection"*) ;;
      *) echo "$_reply"; return 0 ;;
    esac
  done
  return 1
}

# Host of the master that most Sentinels name.
master_by_sentinels() {
  for _sentinel in $SENTINELS; do
    cli "$_sentinel" "$SENTINEL_PORT" SENTINEL GET-MASTER-ADDR-BY-NAME "$MASTER_NAME" 2>/dev/null |
      sed -n 1p | grep -v '^(' || true
  done | grep . | sort | uniq -c | sort -rn | awk 'NR == 1 { print $2 }'
}

# Whether a Sentinel is about to replace the master.
failover_in_progress() {
  for _sentinel in $SENTINELS; do
    cli "$_sentinel" "$SENTINEL_PORT" SENTINEL MASTER "$MASTER_NAME" 2>/dev/null || true
  done | grep -q failover_in_progress
}

# Host of another server that is a master; of several the one with the most replicas.
master_by_role() {
  for _server in $SERVERS; do
    [ "$_server" != "${ANNOUNCE_HOST:-}" ] || continue
    cli "$_server" "$PORT" INFO replication 2>/dev/null | awk -F: -v host="$_server" '
      $1 == "role" { master = $2 == "master" }
      $1 == "connected_slaves" && master { print $2, host }'
  done | sort -rn | awk 'NR == 1 { print $2 }'
}
