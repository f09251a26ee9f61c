# shellcheck shell=bash
# Docker Engine: the one that is there, or the distribution's own package; and the login user's right to use it.

# Older engines lack what the providers ask for: docs.docker.com/engine/api/version-history, API 1.41.
readonly DOCKER_FLOOR=20.10

step_docker() {
  local packages=(docker.io iptables)
  if ! command -v dockerd >/dev/null; then
    if [[ -e /snap/bin/docker ]]; then
      fail "Docker is installed as a snap, which sees neither GPUs nor the data volume: snap remove docker"
    fi
    # From Debian 13 on, the client is a package of its own; pulumi-docker calls it on the machine.
    if apt-cache show docker-cli >/dev/null 2>&1; then packages+=(docker-cli); fi
    need_packages "${packages[@]}"
  fi
  DOCKER_VERSION=$(version_of dockerd --version)
  at_least "$DOCKER_VERSION" "$DOCKER_FLOOR" ||
    fail "Docker Engine is $DOCKER_VERSION, and $DOCKER_FLOOR is the oldest that works: upgrade it, or remove it to get the distribution's"
  is_enabled docker.service || {
    changed
    systemctl enable --quiet docker.service
  }
  if [[ $LOGIN_USER != root ]] && ! grep -qw docker <<<"$(id -nG "$LOGIN_USER")"; then
    changed
    getent group docker >/dev/null || groupadd --system docker
    usermod -aG docker "$LOGIN_USER"
  fi
}
