"""The prod host: one EC2 machine with its network, role, data volume and guards. The only place of pulumi_aws.

`host.py` puts together what the other files declare, one family of resources each; `lookups.py` asks AWS what has to be
known before anything is declared, `prerequisites.py` the deploying machine.
Not here: what the machine does at its first boot (`components/hosts/preparation`), when it counts as ready
(`components/hosts/readiness`), and what machines there are (`components/plan/machines.py`).
"""
