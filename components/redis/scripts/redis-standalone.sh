#!/bin/sh
# Runs one Redis. Environment: REDIS_USER and REDISCLI_AUTH, of an administrator.
set -eu
. "${SCRIPTS:-/etc/redis/scripts}/redis-data.sh"

carry_data_over
exec redis-server "$CONFIG/redis.conf" --dir "$DATA"
