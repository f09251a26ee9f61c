#!/bin/bash
# Mounts the data volume of ragstack, and Docker's volumes from it. Run by ragstack-data.service; never formats.
# usage: ragstack-data start|stop DEVICE SECONDS
set -Eeuo pipefail

readonly DEVICE=$2 TIMEOUT_S=$3
readonly DATA=/srv/ragstack VOLUMES=/var/lib/docker/volumes

die() {
  echo "$*" >&2
  exit 1
}

# 1: errors were corrected (e2fsck(8)).
check() {
  e2fsck -p "$@" "$DEVICE" || (($? <= 1)) || die "the data volume is damaged: run e2fsck $DEVICE by hand"
}

# By more than a rounding: the volume is larger than the file system on it.
has_grown() {
  local blocks size
  blocks=$(dumpe2fs -h "$DEVICE" 2>/dev/null | sed -n 's/^Block count: *//p')
  size=$(dumpe2fs -h "$DEVICE" 2>/dev/null | sed -n 's/^Block size: *//p')
  (($(blockdev --getsize64 "$DEVICE") - blocks * size >= 1048576))
}

start() {
  local deadline=$((SECONDS + TIMEOUT_S))
  until [[ -b $DEVICE ]]; do
    ((SECONDS < deadline)) ||
      die "the data volume did not appear as $DEVICE within $TIMEOUT_S s, so Docker must not start: attach it"
    sleep 1
  done
  if ! mountpoint -q "$DATA"; then
    check
    if has_grown; then
      check -f
      resize2fs "$DEVICE"
    fi
    mkdir -p "$DATA"
    mount -t ext4 -o noatime "$DEVICE" "$DATA"
  fi
  mkdir -p "$DATA/docker-volumes" "$VOLUMES"
  chmod 0701 "$DATA/docker-volumes"
  mountpoint -q "$VOLUMES" || mount --bind "$DATA/docker-volumes" "$VOLUMES"
}

stop() {
  if mountpoint -q "$VOLUMES"; then umount "$VOLUMES"; fi
  if mountpoint -q "$DATA"; then umount "$DATA"; fi
}

case $1 in
  start) start ;;
  stop) stop ;;
  *) die "usage: ragstack-data start|stop DEVICE SECONDS" ;;
esac
