# shellcheck shell=bash
# What everything else stands on: a Debian or Ubuntu with systemd, no swap, a clock that is kept right.

readonly RESUME_UNIT=/etc/systemd/system/ragstack-prepare.service

step_system() {
  command -v apt-get >/dev/null ||
    fail "this is $(system_name), and the preparation knows Debian and Ubuntu only; prepare it by hand (docs/machine.md)"
  [[ -d /run/systemd/system ]] || fail "this machine was not started by systemd, which the preparation needs"
  id "$LOGIN_USER" >/dev/null 2>&1 || fail "there is no user $LOGIN_USER, which is the one that ssh logs in as"
  base_packages
  resume_after_a_power_cut
  no_swap
  right_time
}

# All that later steps need but Docker, which must not start before the data volume is mounted: one call of apt.
base_packages() {
  local packages=(python3 e2fsprogs ca-certificates unattended-upgrades)
  has_right_time || packages+=(systemd-timesyncd)
  need_packages "${packages[@]}"
}

# A run that a reboot cut off would otherwise stay "running" for ever: cloud-init runs it once.
resume_after_a_power_cut() {
  if put 0644 "$RESUME_UNIT" <<UNIT; then
[Unit]
Description=Finish a preparation by ragstack that a reboot cut off
Wants=network-online.target
After=network-online.target ssh.service

[Service]
Type=oneshot
ExecCondition=/bin/grep -q '"state": "running"' $MARKER
ExecStart=/usr/local/sbin/ragstack-prepare

[Install]
WantedBy=multi-user.target
UNIT
    systemctl daemon-reload
  fi
  is_enabled ragstack-prepare.service || {
    changed
    systemctl enable --quiet ragstack-prepare.service
  }
}

# A model that is swapped out answers thousands of times slower; out of memory is at least seen.
no_swap() {
  if [[ $(readlink /etc/systemd/system/swap.target) != /dev/null ]]; then
    changed
    systemctl mask --quiet swap.target
  fi
  if (($(wc -l </proc/swaps) > 1)); then
    changed
    swapoff -a || fail "swap cannot be switched off; see swapon --show"
  fi
}

# Signatures of AWS's API calls and of apt's lists are refused when the clock is minutes off.
right_time() {
  has_right_time || {
    changed
    systemctl enable --quiet --now systemd-timesyncd.service
  }
}

has_right_time() {
  local unit
  for unit in chrony chronyd systemd-timesyncd ntp ntpsec openntpd; do
    if is_enabled "$unit.service"; then
      return 0
    fi
  done
  return 1
}
