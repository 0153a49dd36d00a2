#!/bin/sh
# Ready: knows the master, and enough others to agree on another one.
set -eu
. "${SCRIPTS:-/etc/redis/scripts}/redis-master.sh"
reply=$(cli "${REDIS_LOCAL_HOST:-127.0.0.1}" "$SENTINEL_PORT" SENTINEL CKQUORUM "$MASTER_NAME" 2>&1)
case $reply in OK*) exit 0 ;; esac
echo "$reply"
exit 1
