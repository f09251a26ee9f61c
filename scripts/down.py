"""`make down`: removes containers and networks. Volumes, hence rows and models, stay unless VOLUMES=1."""

from __future__ import annotations

from docker.errors import APIError

from components.errors import StackError
from components.hosts.engine import endpoint_of, open_client
from components.plan.names import names_of
from components.services.labels import STACK_LABEL
from scripts.command import Command, arguments, existing
from scripts.runner import TrialRunner, trial_state
from scripts.say import run, say
from scripts.stack_file import PROJECT_NAME


def main() -> None:
    parser = arguments(str(__doc__))
    parser.add_argument("--volumes", action="store_true", help="delete the volumes too: every row and every model")
    options = parser.parse_args()
    command = existing(options.stack)
    command.runner.release_protected = options.volumes
    command.runner.run("destroy")
    if command.settings.host.type == "aws":
        _say_what_aws_keeps(options.stack, deleted=options.volumes)
        return
    if isinstance(command.runner, TrialRunner):
        trial_state(command.runner.target).unlink(missing_ok=True)
    if command.settings.host.type == "local":
        _volumes(command, delete=options.volumes)


def _say_what_aws_keeps(stack: str, *, deleted: bool) -> None:
    if not deleted:
        say(f"kept the data volume, which costs on (make down STACK={stack} VOLUMES=1 deletes it, with every row)")
    say(f"snapshots stay: aws ec2 describe-snapshots --owner-ids self --filters Name=tag:RagstackData,Values=*{stack}")


def _volumes(command: Command, *, delete: bool) -> None:
    names = names_of(command.settings, PROJECT_NAME, command.stack)
    client = open_client(endpoint_of(command.settings.host))
    try:
        labelled = client.volumes.list(filters={"label": f"{STACK_LABEL}={names.prefix}"})
        # A volume that the stack took over from somebody else carries that one's labels.
        declared = (names.ollama_volume, names.postgres_volume, names.edge_volume)
        taken_over = [volume for volume in client.volumes.list() if volume.name in declared]
        volumes = list({volume.name: volume for volume in [*labelled, *taken_over]}.values())
        for volume in volumes if delete else ():
            say(f"deleting the volume {volume.name}")
            volume.remove()
    except APIError as error:
        raise StackError(f"A volume cannot be deleted: {error.explanation}", "docker volume ls") from None
    finally:
        client.close()
    if volumes and not delete:
        kept = ", ".join(sorted(volume.name for volume in volumes))
        say(f"kept the volumes {kept} (make down VOLUMES=1 deletes them with every row and model)")


if __name__ == "__main__":
    run(main)
