#!/bin/sh
# Ready: has loaded its data; a replica is in step with its master.
# Environment: REDIS_USER, REDISCLI_AUTH, REDIS_TLS_ARGS.
# shellcheck disable=SC2086 # a list of options
replication=$(timeout 4 redis-cli -e -h "${REDIS_LOCAL_HOST:-127.0.0.1}" \
  -p "${REDIS_PORT:-6379}" ${REDIS_USER:+--user "$REDIS_USER"} ${REDIS_TLS_ARGS:-} \
  INFO replication 2>&1)
case $replication in
  *role:master*) exit 0 ;;
  *master_link_status:up*) exit 0 ;;
  *role:slave*) echo "not in step with its master" ;;
  *) echo "$replication" ;;
esac
exit 1
