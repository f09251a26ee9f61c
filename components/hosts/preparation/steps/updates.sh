# shellcheck shell=bash
# Security updates go on by themselves, but never for what a GPU or a running container hangs on.

step_updates() {
  # Appended to the distribution's own list of origins, which is its security archive.
  put 0644 /etc/apt/apt.conf.d/52ragstack < <(updates_settings) || true
  # Whoever restarts Docker restarts every container: needrestart tells, and does nothing.
  put 0644 /etc/needrestart/conf.d/ragstack.conf <<'SETTINGS' || true
$nrconf{restart} = 'l';
SETTINGS
  if ! is_enabled apt-daily-upgrade.timer || ! is_enabled apt-daily.timer; then
    changed
    systemctl enable --quiet --now apt-daily.timer apt-daily-upgrade.timer
  fi
}

updates_settings() {
  local name kept=(docker containerd runc nvidia- libnvidia- cuda-)
  # A kernel without the driver's module is a machine without a GPU after its next boot.
  case $ACCELERATOR in nvidia | rocm) kept+=(linux-) ;; esac
  printf 'APT::Periodic::Update-Package-Lists "1";\nAPT::Periodic::Unattended-Upgrade "1";\n'
  printf 'Unattended-Upgrade::Automatic-Reboot "false";\nUnattended-Upgrade::Package-Blacklist {\n'
  for name in "${kept[@]}"; do
    printf '  "^%s";\n' "$name"
  done
  printf '};\n'
}
