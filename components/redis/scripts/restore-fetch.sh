#!/bin/sh
# Fetches a whole backup: `restore-fetch.sh FOLDER REMOTE NAME`; NAME "latest" is the newest one.
set -eu
# The network may let a new pod out a moment after its start.
export RCLONE_RETRIES=10 RCLONE_RETRIES_SLEEP=3s
folder=$1; remote=$2; name=$3
if [ "$name" = latest ]; then
  name=$(rclone lsf --recursive --files-only --include '*/SHA256SUMS' "$remote" | sort |
    sed -n '$s|/SHA256SUMS$||p')
  [ -n "$name" ] || { echo "error: no whole backup in $remote" >&2; exit 1; }
fi
rclone copy "$remote/$name" "$folder"
[ -s "$folder/SHA256SUMS" ] || {
  echo "error: $remote has no whole backup $name; there are:" >&2
  rclone lsf --dirs-only "$remote" >&2
  exit 1
}
cd "$folder"
sha256sum -c SHA256SUMS
echo "backup $name"
