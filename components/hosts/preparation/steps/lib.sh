# shellcheck shell=bash
# What the steps share: the marker, the log, failing with a reason, files that are written only when they differ,
# and packages. `fail` ends the run; `changed` tells that a step has changed the machine.

readonly STATE_DIR=/var/lib/ragstack
readonly MARKER=$STATE_DIR/prepared.json
readonly LOG=/var/log/ragstack-prepare.log
STEP=start
STEP_CHANGED=no
STEPS_CHANGED=()
DOCKER_VERSION=
DRIVER_VERSION=
TOOLKIT_VERSION=
GPUS=()
TMP=

say() {
  printf '%s %s: %s\n' "$(date -u +%FT%TZ)" "$STEP" "$*"
}

changed() {
  STEP_CHANGED=yes
}

# Whoever reads the marker may not expect more than ASCII.
json() {
  local text=${1//[^[:print:]]/ }
  text=${text//\\/\\\\}
  printf '"%s"' "${text//\"/\\\"}"
}

json_or_null() {
  if [[ -n $1 ]]; then json "$1"; else printf null; fi
}

json_list() {
  local item separator=
  printf '['
  for item in "$@"; do
    printf '%s' "$separator"
    json "$item"
    separator=', '
  done
  printf ']'
}

system_name() {
  local name
  name=$(sed -n 's/^PRETTY_NAME=//p' /etc/os-release)
  printf '%s' "${name//\"/}"
}

write_marker() {
  local state=$1 reason=${2:-}
  {
    printf '{"state": "%s", "revision": "%s", "step": %s, ' "$state" "$REVISION" "$(json "$STEP")"
    [[ $state != failed ]] || printf '"reason": %s, ' "$(json "$reason")"
    printf '"log": "%s", "versions": {"os": %s, ' "$LOG" "$(json "$(system_name)")"
    printf '"kernel": %s, "docker": %s, ' "$(json "$(uname -r)")" "$(json_or_null "$DOCKER_VERSION")"
    printf '"driver": %s, ' "$(json_or_null "$DRIVER_VERSION")"
    printf '"toolkit": %s, ' "$(json_or_null "$TOOLKIT_VERSION")"
    printf '"gpu": %s}, ' "$(json_list "${GPUS[@]}")"
    printf '"steps_changed": %s}\n' "$(json_list "${STEPS_CHANGED[@]}")"
  } >"$MARKER.new"
  chmod 0644 "$MARKER.new"
  mv -f "$MARKER.new" "$MARKER"
}

fail() {
  trap - ERR
  say "failed: $*"
  write_marker failed "$*"
  exit 1
}

# For ERR: a command that nobody expected to fail.
unexpected() {
  local code=$1 command=${2%%$'\n'*}
  fail "the command '${command:0:120}' ended with $code; its message is in $LOG"
}

begin() {
  STEP=$1
  STEP_CHANGED=no
  say "begins"
  write_marker running
}

end() {
  [[ $STEP_CHANGED == no ]] || STEPS_CHANGED+=("$STEP")
  say "done, changed: $STEP_CHANGED"
}

# put MODE PATH <content: true when the file had another content or was not there. Not for the end of a pipe, where
# a change would be noted in a subshell.
put() {
  local mode=$1 path=$2
  cat >"$TMP/put"
  if cmp -s "$TMP/put" "$path"; then
    return 1
  fi
  if ! install -D -m "$mode" "$TMP/put" "$path.ragstack-new" || ! mv -f "$path.ragstack-new" "$path"; then
    fail "$path cannot be written; its disk may be full or read-only"
  fi
  changed
  say "wrote $path"
}

at_least() {
  dpkg --compare-versions "$1" ge "$2"
}

# The first version number in what a command says of itself; empty when the command is missing or says none.
version_of() {
  { "$@" 2>/dev/null || true; } | grep -oE '[0-9]+(\.[0-9]+)+' | head -n 1 || true
}

# until_true SECONDS COMMAND...: asks twice a second; false when the time is up.
until_true() {
  local deadline=$((SECONDS + $1))
  shift
  until "$@"; do
    ((SECONDS < deadline)) || return 1
    sleep 0.5
  done
}

is_enabled() {
  systemctl is-enabled --quiet "$1" 2>/dev/null
}

apt_get() {
  env DEBIAN_FRONTEND=noninteractive NEEDRESTART_MODE=l NEEDRESTART_SUSPEND=1 apt-get -q -y \
    -o "DPkg::Lock::Timeout=$APT_LOCK_TIMEOUT_S" -o Acquire::Retries=3 -o Dpkg::Use-Pty=0 \
    -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold "$@"
}

is_installed() {
  [[ $(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null) == installed ]]
}

# Lists are fetched once a run, and again for another try. One that cannot be fetched is no reason to stop as long as
# the packages are found in the others.
apt_try() {
  if [[ ! -e $TMP/lists ]]; then
    if apt_get update; then touch "$TMP/lists"; else say "not all package lists could be fetched"; fi
  fi
  apt_get install --no-install-recommends "$@"
}

# Installs what is named, as NAME or NAME=VERSION.
apt_install() {
  local try
  changed
  say "installing $*"
  [[ -z $(dpkg --audit) ]] || dpkg --configure -a
  for ((try = 1; ; try++)); do
    if apt_try "$@" 2>&1 | tee "$TMP/apt"; then
      return
    fi
    rm -f "$TMP/lists"
    ((try < APT_TRIES)) || break
    say "try $try failed, again in $APT_PAUSE_S s"
    sleep "$APT_PAUSE_S"
  done
  fail "apt could not install $* in $APT_TRIES tries: $(grep -m 1 '^E:' "$TMP/apt" || true)"
}

need_packages() {
  local package missing=()
  for package in "$@"; do
    is_installed "$package" || missing+=("$package")
  done
  ((${#missing[@]} == 0)) || apt_install "${missing[@]}"
}

# fetch URL FILE
fetch() {
  need_packages curl ca-certificates
  curl --fail --silent --show-error --location --retry 3 --retry-connrefused --max-time 300 --output "$2" "$1" ||
    fail "$1 cannot be fetched; allow the machine to reach it"
}

# keyring FINGERPRINT KEYS FILE: writes the one key with that fingerprint, whatever else KEYS holds.
keyring() {
  local home=$TMP/gnupg
  need_packages gpg
  rm -rf "$home"
  install -d -m 0700 "$home"
  gpg --homedir "$home" --batch --no-autostart --quiet --import "$2" ||
    fail "$2 holds no OpenPGP key"
  gpg --homedir "$home" --batch --no-autostart --export "$1" >"$3"
  [[ -s $3 ]] ||
    fail "the key offered is not the pinned one: no key in it has the fingerprint $1, so nothing was installed"
}
