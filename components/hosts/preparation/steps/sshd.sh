# shellcheck shell=bash
# One shared connection carries dozens of Docker's sessions, and keys are the only way in.

# The first value wins in sshd_config(5), and cloud images bring a 50-cloud-init.conf.
readonly SSHD_DROP_IN=/etc/ssh/sshd_config.d/10-ragstack.conf

step_sshd() {
  command -v sshd >/dev/null || fail "there is no sshd, and this machine is reached by ssh: install openssh-server"
  put 0644 "$SSHD_DROP_IN" < <(sshd_settings) || return 0
  # sshd -t looks for it, and socket activation makes it with the first connection only.
  mkdir -p /run/sshd
  if ! sshd -t; then
    rm -f "$SSHD_DROP_IN"
    fail "sshd refuses its settings, and ours are removed again: see sshd -t"
  fi
  # Not by a pipe, whose early end would look like a failure of sshd.
  if ! grep -qi '^maxsessions 200$' <<<"$(sshd -T)"; then
    rm -f "$SSHD_DROP_IN"
    fail "/etc/ssh/sshd_config does not include sshd_config.d, or sets MaxSessions before it does: add 'Include /etc/ssh/sshd_config.d/*.conf' as its first line"
  fi
  systemctl try-reload-or-restart ssh.service
}

sshd_settings() {
  printf 'MaxStartups 100:30:200\nMaxSessions 200\nClientAliveInterval 30\nClientAliveCountMax 6\n'
  if has_key; then
    printf 'PasswordAuthentication no\nKbdInteractiveAuthentication no\n'
  else
    say "$LOGIN_USER has no authorized key, so logging in by password is left as it is" >&2
  fi
}

# Without one, forbidding passwords would lock the user out.
has_key() {
  local home
  home=$(getent passwd "$LOGIN_USER" | cut -d: -f6)
  grep -qsE '^[^#]' "$home/.ssh/authorized_keys"
}
