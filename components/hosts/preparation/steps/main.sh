# shellcheck shell=bash disable=SC2034
# How a run starts and ends.

begin_run() {
  LC_ALL=C
  export LC_ALL PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
  ((EUID == 0)) || {
    echo "ragstack-prepare changes the system, so it is for root: sudo ragstack-prepare" >&2
    exit 1
  }
  umask 022
  mkdir -p "$STATE_DIR"
  touch "$LOG"
  chmod 0644 "$LOG"
  exec 9>"$STATE_DIR/lock"
  flock -w "$APT_LOCK_TIMEOUT_S" 9 || {
    echo "another preparation has been running for $APT_LOCK_TIMEOUT_S s; see $LOG" >&2
    exit 1
  }
}

run_steps() {
  TMP=$(mktemp -d)
  trap 'rm -rf "$TMP"' EXIT
  trap 'fail "it was interrupted; run ragstack-prepare again"' TERM INT HUP
  trap 'unexpected "$?" "$BASH_COMMAND"' ERR
  say "preparation $REVISION begins"
  steps
  STEP=ready
  write_marker ready
  if ((${#STEPS_CHANGED[@]})); then
    say "ready; changed: ${STEPS_CHANGED[*]}"
  else
    say "ready; nothing changed"
  fi
}
