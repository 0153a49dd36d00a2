#!/bin/sh
# Before a Redis stops: a master hands over to a replica, and waits until Sentinels name that one.
# Environment as in redis-node.sh; HANDOVER_SECONDS (40) bounds it.
set -eu
. "${SCRIPTS:-/etc/redis/scripts}/redis-master.sh"
HERE=${REDIS_LOCAL_HOST:-127.0.0.1}
END=$(($(date +%s) + ${HANDOVER_SECONDS:-40}))

here() { cli "$HERE" "$PORT" "$@"; }
role_is() { here INFO replication 2>&1 | grep -q "^role:$1"; }
in_time() { [ "$(date +%s)" -lt "$END" ]; }

# Whether a replica has all that this master has.
followed() {
  here INFO replication | awk -F'[:,=]' '
    $1 == "master_repl_offset" { own = $2 }
    /^slave[0-9]+:.*state=online/ { for (i = 1; i < NF; i++) if ($i == "offset") seen[$(i + 1)] }
    END { exit !(own in seen) }'
}

# Until it is done: under load an answer may not come in time.
certainly() {
  until [ "$(here "$@" 2>&1)" = OK ]; do
    in_time || exit 0
    sleep 0.2
  done
}

! role_is slave || exit 0
here INFO replication | grep -q '^slave[0-9]*:.*state=online' || exit 0 # nobody to hand over to
any_sentinel PING >/dev/null || exit 0                                 # nobody to see to it
# From here on nothing is acknowledged that the next master might not have, and nothing is sent that
# one replica gets and another does not: then they follow the next master without a full copy. Sent
# are expired keys (a pause ends that), pings, and what Sentinels publish; a pause would also hold
# that, and behind it their commands, so they may not publish here. They know masters from elsewhere.
certainly ACL SETUSER sentinel -publish
certainly CONFIG SET min-replicas-to-write 1000 repl-ping-replica-period 3600
certainly CLIENT PAUSE 60000 WRITE
until followed; do
  in_time || exit 0
  sleep 0.05
done
# Asked again before it is done, Sentinels would replace the new master as well. No answer, of this
# server or of Sentinels, is no sign that it is done.
replaced() {
  named=$(master_by_sentinels)
  role_is slave || { [ -n "$named" ] && [ "$named" != "$ANNOUNCE_HOST" ]; }
}
asked=0
until replaced || ! in_time; do
  if [ $(($(date +%s) - asked)) -ge 15 ]; then
    any_sentinel SENTINEL FAILOVER "$MASTER_NAME" >/dev/null || true
    asked=$(date +%s)
  fi
  sleep 0.1
done
