"""The script as the user data of a new machine, for cloud-init to run once."""

from __future__ import annotations

import base64
import bz2

from components.hosts.preparation.render import script
from components.hosts.preparation.wanted import Preparation

# Bytes of user data before base64: docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-add-user-data.html.
EC2_LIMIT = 16384
INSTALLED = "/usr/local/sbin/ragstack-prepare"
_PACKED = "/var/lib/ragstack/prepare.bz2"
_UNPACK = (
    "import bz2, os; "
    f"data = bz2.decompress(open('{_PACKED}', 'rb').read()); open('{INSTALLED}', 'wb').write(data); "
    f"os.chmod('{INSTALLED}', 0o755)"
)


def cloud_config(preparation: Preparation) -> str:
    """The `#cloud-config` that installs the script as `ragstack-prepare` and runs it. No secret is in it.

    The script is packed by bzip2, because its output is the same everywhere; that of zlib, hence of gzip, differs
    between builds of it, and another user data means another machine.
    """
    packed = base64.b64encode(bz2.compress(script(preparation).encode(), 9)).decode()
    return f"""#cloud-config
# Written by ragstack. The script in it is {INSTALLED} once the machine has booted.
package_update: false
package_upgrade: false
package_reboot_if_required: false
swap:
  size: 0
write_files:
  - path: {_PACKED}
    permissions: "0644"
    encoding: b64
    content: {packed}
runcmd:
  - [python3, -c, "{_UNPACK}"]
  - [{INSTALLED}]
"""


def user_data(preparation: Preparation) -> str:
    """`cloud_config` as EC2's API takes it (`user_data_base64`): base64 of at most 16384 bytes."""
    return base64.b64encode(cloud_config(preparation).encode()).decode()
