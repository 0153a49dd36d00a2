#!/bin/sh
# Ready: answers, and serves its part. A node in no cluster yet is ready to be taken into one.
set -eu
PORT=${REDIS_PORT:-6379}

cli() {
  # shellcheck disable=SC2086 # a list of options
  timeout 5 redis-cli -e -h "${REDIS_LOCAL_HOST:-127.0.0.1}" -p "$PORT" \
    ${REDIS_USER:+--user "$REDIS_USER"} ${REDIS_TLS_ARGS:-} "$@" | tr -d '\r'
}

[ "$(cli PING)" = PONG ] || exit 1 # loading
cluster=$(cli CLUSTER INFO)
case $cluster in *cluster_known_nodes:1"
"*) exit 0 ;; esac
case $cluster in *cluster_state:ok*) ;; *) echo "cluster_state is not ok"; exit 1 ;; esac
replication=$(cli INFO replication)
case $replication in
  *role:master*) ;;
  *master_link_status:up*) ;;
  *) echo "not in step with its master"; exit 1 ;;
esac
