# shellcheck shell=bash
# NVIDIA's container toolkit: the one that is there when it is recent enough, else the pinned version of NVIDIA's own
# repository; and the CDI specification of the GPUs, fresh at every boot.

readonly TOOLKIT_PACKAGES=(nvidia-container-toolkit nvidia-container-toolkit-base libnvidia-container-tools libnvidia-container1)
readonly TOOLKIT_KEYRING=/etc/apt/keyrings/ragstack-nvidia.gpg
readonly CDI_UNIT=/etc/systemd/system/ragstack-cdi.service

step_toolkit() {
  TOOLKIT_VERSION=$(version_of nvidia-ctk --version)
  if [[ -z $TOOLKIT_VERSION ]] && is_installed nvidia-container-toolkit; then
    fail "the NVIDIA container toolkit is installed and broken: nvidia-ctk --version says '$(nvidia-ctk --version 2>&1 | head -n 1 || true)'; reinstall it"
  fi
  if [[ -z $TOOLKIT_VERSION ]] || ! at_least "$TOOLKIT_VERSION" "$TOOLKIT_FLOOR"; then
    install_toolkit
    TOOLKIT_VERSION=$(version_of nvidia-ctk --version)
    [[ -n $TOOLKIT_VERSION ]] || fail "the toolkit was installed, and nvidia-ctk does not answer"
  fi
  describe_gpus
}

install_toolkit() {
  local key=$TMP/nvidia.key package pinned=()
  if ! grep -rqsF "$TOOLKIT_REPOSITORY" /etc/apt/sources.list /etc/apt/sources.list.d --exclude=ragstack-nvidia.list; then
    fetch "$TOOLKIT_KEY_URL" "$key"
    keyring "$TOOLKIT_KEY_FINGERPRINT" "$key" "$TMP/nvidia.gpg"
    put 0644 "$TOOLKIT_KEYRING" <"$TMP/nvidia.gpg" || true
    put 0644 /etc/apt/sources.list.d/ragstack-nvidia.list <<SOURCE || true
deb [signed-by=$TOOLKIT_KEYRING arch=$(dpkg --print-architecture)] $TOOLKIT_REPOSITORY/$(dpkg --print-architecture) /
SOURCE
  fi
  # The four belong together, and a newer one has to be wanted.
  put 0644 /etc/apt/preferences.d/ragstack-nvidia <<PIN || true
Package: ${TOOLKIT_PACKAGES[*]}
Pin: version $TOOLKIT_PIN
Pin-Priority: 1001
PIN
  for package in "${TOOLKIT_PACKAGES[@]}"; do
    pinned+=("$package=$TOOLKIT_PIN")
  done
  rm -f "$TMP/lists"
  apt_install "${pinned[@]}"
}

# The toolkit's own service follows the driver (1.18 and later); older toolkits get one of ours.
describe_gpus() {
  local unit=nvidia-cdi-refresh.service
  if ! systemctl cat "$unit" >/dev/null 2>&1; then
    unit=ragstack-cdi.service
    if put 0644 "$CDI_UNIT" <<UNIT; then
[Unit]
Description=CDI specification of the NVIDIA GPUs
Before=docker.service

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=$(command -v nvidia-ctk) cdi generate --output=/var/run/cdi/nvidia.yaml

[Install]
WantedBy=multi-user.target
UNIT
      systemctl daemon-reload
    fi
  fi
  if ! is_enabled "$unit"; then
    changed
    systemctl enable --quiet "$unit" || true
  fi
  if gpus_described; then
    return
  fi
  changed
  systemctl restart "$unit" || true
  gpus_described || nvidia-ctk cdi generate --output=/var/run/cdi/nvidia.yaml 2>&1 | tee "$TMP/cdi" || true
  gpus_described ||
    fail "the toolkit gives no CDI specification of the GPUs: $(tail -n 1 "$TMP/cdi"); see nvidia-ctk cdi generate"
}

gpus_described() {
  grep -qs nvidia.com/gpu /etc/cdi/* /var/run/cdi/*
}
