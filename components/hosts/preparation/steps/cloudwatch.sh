# shellcheck shell=bash
# CloudWatch's agent: memory and disk, which EC2 itself does not report, and the GPUs.

readonly AGENT=/opt/aws/amazon-cloudwatch-agent
readonly AGENT_CTL=$AGENT/bin/amazon-cloudwatch-agent-ctl

step_cloudwatch() {
  local new=no
  if [[ ! -x $AGENT_CTL ]]; then
    install_agent
    new=yes
  fi
  if put 0644 /etc/ragstack/cloudwatch.json < <(agent_settings); then
    new=yes
  fi
  if [[ $new == yes ]] || ! systemctl is-active --quiet amazon-cloudwatch-agent.service; then
    changed
    "$AGENT_CTL" -a fetch-config -m ec2 -s -c file:/etc/ragstack/cloudwatch.json ||
      fail "CloudWatch's agent does not take its settings; see $AGENT/logs"
  fi
}

install_agent() {
  local distribution url
  distribution=$(sed -n 's/^ID=//p' /etc/os-release)
  url=$CLOUDWATCH_URL/$distribution/$(dpkg --print-architecture)/latest/amazon-cloudwatch-agent.deb
  need_packages gpgv
  fetch "$CLOUDWATCH_URL/assets/amazon-cloudwatch-agent.gpg" "$TMP/agent.key"
  keyring "$CLOUDWATCH_KEY_FINGERPRINT" "$TMP/agent.key" "$TMP/agent.gpg"
  fetch "$url" "$TMP/agent.deb"
  fetch "$url.sig" "$TMP/agent.deb.sig"
  gpgv --keyring "$TMP/agent.gpg" "$TMP/agent.deb.sig" "$TMP/agent.deb" ||
    fail "the signature of CloudWatch's agent is not good, so it was not installed"
  chmod 0755 "$TMP"
  apt_install "$TMP/agent.deb"
}

agent_settings() {
  local gpu=
  if [[ $ACCELERATOR == nvidia ]]; then
    gpu=', "nvidia_gpu": {"measurement": ["utilization_gpu", "memory_used", "memory_total", "temperature_gpu"]}'
  fi
  cat <<SETTINGS
{
  "agent": {"metrics_collection_interval": 60},
  "metrics": {
    "append_dimensions": {"InstanceId": "\${aws:InstanceId}"},
    "metrics_collected": {
      "mem": {"measurement": ["mem_used_percent"]},
      "disk": {"measurement": ["used_percent"], "resources": ["/", "/srv/ragstack"], "drop_device": true}$gpu
    }
  }
}
SETTINGS
}
