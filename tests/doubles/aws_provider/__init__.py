"""A test double of the AWS provider's plugin: the real API calls of boto3, sent to moto instead of AWS.

Every resource type and function that this project uses is one small class in a file of its family; anything else is
refused. Parameters are validated by botocore, references and states by moto, property names by the installed
pulumi_aws. It answers for moto where moto has no implementation, with botocore's validation still done (`store.py`):
  - EC2: the create, describe and delete of Instance Connect Endpoints
  - DLM: everything
  - Budgets: UpdateBudget, UpdateNotification; subscribers
  - Service Quotas: GetServiceQuota of the service ec2
and adds what AWS refuses and moto lets pass: user data over 16384 bytes, a volume attached twice or across zones.

It refuses to start its work unless AWS_ENDPOINT_URL names this machine's loopback, so that it never reaches AWS.
Read from the environment, too:
  RAGSTACK_AWS_FAILS   failures to play, `Operation:Code` separated by commas: `RunInstances:VcpuLimitExceeded`
  RAGSTACK_AWS_QUOTA   the vCPUs that every EC2 quota allows (64)
  RAGSTACK_REHEARSAL   a folder; when set, instances are machines of `tests/doubles/machines.py` that really boot
"""
