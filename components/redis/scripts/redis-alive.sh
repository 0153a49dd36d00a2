#!/bin/sh
# Alive: answers at all. A server that loads its data, or runs a long script, is not dead.
# Environment: REDIS_USER, REDISCLI_AUTH, REDIS_TLS_ARGS.
# shellcheck disable=SC2086 # a list of options
reply=$(timeout 4 redis-cli -h "${REDIS_LOCAL_HOST:-127.0.0.1}" -p "${REDIS_PORT:-6379}" \
  ${REDIS_USER:+--user "$REDIS_USER"} ${REDIS_TLS_ARGS:-} PING 2>&1)
case $reply in
  *PONG* | *LOADING* | *BUSY* | *MASTERDOWN*) exit 0 ;;
esac
echo "$reply"
exit 1
