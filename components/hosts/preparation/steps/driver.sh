# shellcheck shell=bash disable=SC2034
# The accelerator's driver is the machine's own affair: it is looked at, and never installed or changed.

step_driver() {
  case $ACCELERATOR in
    nvidia) nvidia_driver ;;
    rocm) [[ -c /dev/kfd ]] ||
      fail "there is no /dev/kfd: load AMD's kernel driver (modprobe amdgpu), or take a kernel that has it" ;;
    vulkan) compgen -G '/dev/dri/renderD*' >/dev/null ||
      fail "there is no /dev/dri/renderD*: load the GPU's kernel driver, or set the accelerator to cpu" ;;
    cpu) ;;
  esac
}

nvidia_driver() {
  command -v nvidia-smi >/dev/null ||
    fail "there is no NVIDIA driver (no nvidia-smi): take an image that has one, or install NVIDIA's and reboot"
  # Right after a boot the kernel module may still be loading.
  until_true "$DRIVER_TIMEOUT_S" driver_answers ||
    fail "the NVIDIA driver does not answer: $(nvidia-smi 2>&1 | head -n 1 || true)"
  DRIVER_VERSION=$(head -n 1 "$TMP/gpus" | cut -d, -f2 | tr -d ' ')
  mapfile -t GPUS < <(cut -d, -f1 "$TMP/gpus")
  at_least "$DRIVER_VERSION" "$DRIVER_FLOOR" ||
    fail "the NVIDIA driver is $DRIVER_VERSION, and $DRIVER_FLOOR is the oldest that Ollama uses: install a newer one and reboot"
}

driver_answers() {
  nvidia-smi --query-gpu=name,driver_version --format=csv,noheader >"$TMP/gpus" 2>/dev/null && [[ -s $TMP/gpus ]]
}
