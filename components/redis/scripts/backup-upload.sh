#!/bin/sh
# Uploads what backup-dump.sh wrote: `backup-upload.sh FOLDER REMOTE`, REMOTE as rclone names it.
# The list of digests goes last: a backup without it is not whole, and is not restored.
set -eu
# The network may let a new pod out a moment after its start.
export RCLONE_RETRIES=10 RCLONE_RETRIES_SLEEP=3s
cd "$1"
remote=$2/$(cat NAME)
for file in shard-*.rdb SHA256SUMS; do
  rclone copyto --error-on-no-transfer "$file" "$remote/$file"
done
# What the store says it holds is compared with what is here.
rclone check --one-way --include 'shard-*.rdb' --include SHA256SUMS . "$remote"
echo "backup $(cat NAME)"
