# shellcheck shell=bash
# The engine's settings: rotated logs for all; for NVIDIA also CDI, the runtime, and cgroups that systemd leaves alone.

readonly DAEMON_JSON=/etc/docker/daemon.json
readonly WRITTEN_JSON=$STATE_DIR/daemon.json
# CDI came with 25 and is on by itself from 28.3: docs.docker.com/engine/release-notes.
readonly CDI_FIRST=25 CDI_DEFAULT=28.3
# `dockerd --validate`: docs.docker.com/engine/release-notes/23.0.
readonly VALIDATE_FIRST=23

step_engine() {
  local next=$TMP/daemon.json
  wanted_settings >"$TMP/wanted.json"
  python3 -c "$DAEMON_JSON_SCRIPT" merge "$DAEMON_JSON" "$TMP/wanted.json" "$WRITTEN_JSON" "$next" ||
    fail "$DAEMON_JSON is not a JSON object: mend it by hand"
  if [[ $ACCELERATOR == nvidia ]] && ! grep -q '"nvidia"' "$next"; then
    nvidia-ctk runtime configure --runtime=docker --config="$next" ||
      fail "the toolkit is broken: nvidia-ctk runtime configure failed; reinstall it"
  fi
  if ! python3 -c "$DAEMON_JSON_SCRIPT" same "$DAEMON_JSON" "$next"; then
    apply_settings "$next"
  elif ! systemctl is-active --quiet docker.service; then
    changed
    systemctl reset-failed docker.service docker.socket 2>/dev/null || true
    systemctl start docker.service || fail "$(docker_said)"
  fi
  install -D -m 0644 "$TMP/wanted.json" "$WRITTEN_JSON"
  until_true "$DOCKER_TIMEOUT_S" docker_answers || fail "Docker did not answer within $DOCKER_TIMEOUT_S s: $(docker_said)"
  DOCKER_VERSION=$(docker version --format '{{.Server.Version}}')
}

wanted_settings() {
  local log features='' options=''
  log=$(printf '"log-driver": "json-file", "log-opts": {"max-size": "%s", "max-file": "%s"}' "$LOG_MAX_SIZE" "$LOG_MAX_FILE")
  if [[ $ACCELERATOR == nvidia ]]; then
    if at_least "$DOCKER_VERSION" "$CDI_FIRST" && ! at_least "$DOCKER_VERSION" "$CDI_DEFAULT"; then
      features=', "features": {"cdi": true}'
    fi
    # With systemd as the driver, a daemon-reload takes the GPU from running containers: NVIDIA/nvidia-docker#1730.
    options=', "exec-opts": ["native.cgroupdriver=cgroupfs"]'
  fi
  printf '{%s%s%s}\n' "$log" "$features" "$options"
}

apply_settings() {
  local next=$1 before=$TMP/daemon.json.before
  if at_least "$DOCKER_VERSION" "$VALIDATE_FIRST"; then
    dockerd --validate --config-file="$next" || fail "Docker refuses the settings in $next; what it said is in $LOG"
  fi
  [[ ! -e $DAEMON_JSON ]] || cp -p "$DAEMON_JSON" "$before"
  put 0644 "$DAEMON_JSON" <"$next" || true
  # Three quick restarts are a start limit of systemd, not a fault.
  systemctl reset-failed docker.service docker.socket 2>/dev/null || true
  if systemctl restart docker.service; then
    return
  fi
  local said
  said=$(docker_said)
  if [[ -e $before ]]; then cp -p "$before" "$DAEMON_JSON"; else rm -f "$DAEMON_JSON"; fi
  systemctl reset-failed docker.service 2>/dev/null || true
  systemctl restart docker.service || true
  fail "Docker does not start with the new $DAEMON_JSON, and the old one is back: $said"
}

docker_answers() {
  docker version --format '{{.Server.Version}}' >/dev/null 2>&1
}

docker_said() {
  local line
  line=$(journalctl -u docker.service -o cat -n 50 | grep -iE 'level=(error|fatal)|failed to start|unable' | tail -n 1 || true)
  printf '%s' "${line:-see journalctl -u docker}"
}
