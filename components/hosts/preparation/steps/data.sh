# shellcheck shell=bash
# The data volume: waited for, formatted when it is blank and only then, and mounted before Docker at every boot.

readonly DATA_LABEL=ragstack-data
readonly DATA_UNIT=/etc/systemd/system/ragstack-data.service
readonly DATA_DROP_IN=/etc/systemd/system/docker.service.d/ragstack-data.conf
# Longer than any blank start of a partition table, a RAID member or a file system.
readonly BLANK_BYTES=4194304

step_data() {
  local size
  until_true "$DATA_TIMEOUT_S" test -b "$DATA_DEVICE" ||
    fail "the data volume $DATA_VOLUME_ID did not appear as $DATA_DEVICE within $DATA_TIMEOUT_S s: attach it to this machine"
  if ! mountpoint -q /var/lib/docker/volumes; then
    refuse_to_hide_volumes
    format_if_blank
  fi
  mounted_before_docker
  if ! systemctl is-active --quiet ragstack-data.service || ! mountpoint -q /var/lib/docker/volumes; then
    changed
    # Where Docker came with the image, it has started without the volume.
    systemctl stop docker.socket docker.service 2>/dev/null || true
    systemctl restart ragstack-data.service || fail "$(data_service_said)"
    return
  fi
  size=$(stat -f -c %b /srv/ragstack)
  resize2fs "$DATA_DEVICE" || fail "the file system could not grow with its volume while it is in use: reboot the machine"
  if [[ $(stat -f -c %b /srv/ragstack) != "$size" ]]; then
    changed
    say "the file system has grown with its volume"
  fi
}

data_service_said() {
  local line
  line=$(journalctl -u ragstack-data.service -o cat -n 20 | grep -v -e systemd -e '^ragstack-data' -e '^Failed' | tail -n 1 || true)
  printf 'the data volume could not be mounted: %s' "${line:-see journalctl -u ragstack-data}"
}

refuse_to_hide_volumes() {
  local found
  if grep -qs '"data-root"' /etc/docker/daemon.json &&
    ! grep -qE '"data-root": *"/var/lib/docker/?"' /etc/docker/daemon.json; then
    fail "/etc/docker/daemon.json moves Docker's data elsewhere (data-root), where the data volume is not mounted: remove it"
  fi
  found=$(find /var/lib/docker/volumes -mindepth 1 -maxdepth 1 -type d -printf '%f ' 2>/dev/null || true)
  [[ -z $found ]] ||
    fail "Docker has volumes on this machine's own disk, which the data volume would hide: $found(move or remove them)"
}

format_if_blank() {
  local type label code=0
  type=$(blkid -p -s TYPE -o value "$DATA_DEVICE") || code=$?
  if [[ $type == ext4 ]]; then
    label=$(blkid -p -s LABEL -o value "$DATA_DEVICE" || true)
    [[ $label == "$DATA_LABEL" ]] ||
      fail "$DATA_DEVICE holds a file system that is not ragstack's (label '$label'), and it is left as it is: if it is meant, e2label $DATA_DEVICE $DATA_LABEL"
    return
  fi
  # 2: nothing was recognized (blkid(8)).
  if ((code != 2)) || ! cmp -s -n "$BLANK_BYTES" "$DATA_DEVICE" /dev/zero; then
    fail "$DATA_DEVICE is not blank (${type:-unknown content}), and only a blank volume is formatted: attach the right one, or empty it by hand"
  fi
  changed
  say "formatting the blank volume $DATA_DEVICE"
  mkfs.ext4 -q -L "$DATA_LABEL" "$DATA_DEVICE"
}

mounted_before_docker() {
  local reload=no
  put 0755 /usr/local/sbin/ragstack-data <<<"$DATA_VOLUME_SCRIPT" || true
  if put 0644 "$DATA_UNIT" <<UNIT; then
[Unit]
Description=Data volume of ragstack, which Docker's volumes are on
Before=docker.service
StartLimitIntervalSec=0

[Service]
Type=oneshot
RemainAfterExit=yes
TimeoutStartSec=$((DATA_TIMEOUT_S + 600))
ExecStart=/usr/local/sbin/ragstack-data start $DATA_DEVICE $DATA_TIMEOUT_S
ExecStop=/usr/local/sbin/ragstack-data stop $DATA_DEVICE $DATA_TIMEOUT_S

[Install]
WantedBy=multi-user.target
UNIT
    reload=yes
  fi
  # On an empty folder PostgreSQL would make itself a new, empty database.
  if put 0644 "$DATA_DROP_IN" <<UNIT; then
[Unit]
Requires=ragstack-data.service
After=ragstack-data.service
UNIT
    reload=yes
  fi
  [[ $reload == no ]] || systemctl daemon-reload
  is_enabled ragstack-data.service || {
    changed
    systemctl enable --quiet ragstack-data.service
  }
}
