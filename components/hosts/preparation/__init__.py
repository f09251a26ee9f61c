"""What is done on a machine before anything is declared on it, as one bash script: pure rendering, nothing is run here.

The same script is a new machine's user data (cloud-init) and what `make prepare` sends to a machine that is already
there. `steps/` holds its parts, one file per step; `docs/machine.md` says what each does.
Not here: waiting for its end (`components/hosts/readiness`) and sending it (`scripts/prepare.py`).
"""

from components.hosts.preparation.cloud_config import cloud_config, user_data
from components.hosts.preparation.render import revision, script
from components.hosts.preparation.wanted import Preparation

__all__ = ["Preparation", "cloud_config", "revision", "script", "user_data"]
