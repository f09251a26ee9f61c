#!/bin/bash
# Starts PostgreSQL by the image's own entrypoint, after two checks on a data directory that is already there:
# that its major version is the image's, and that the administrator's password is the one of this stack. The second
# lets a volume outlive the stack that made it, and lets the password be changed: local connections inside the
# container are the only other way in.
set -euo pipefail

password_file=${POSTGRES_PASSWORD_FILE:?}
image_version=$(postgres --version)
image_version=${image_version##*) }
image_version=${image_version%%.*}
image_version=${image_version%% *}

for data in "$PGDATA" /var/lib/postgresql /var/lib/postgresql/data; do
    [[ -s $data/PG_VERSION ]] || continue
    data_version=$(<"$data/PG_VERSION")
    if [[ $data_version != "$image_version" ]]; then
        echo "ragstack: the data volume is of PostgreSQL $data_version, the image is PostgreSQL $image_version." >&2
        echo "ragstack: set ragstack:postgres.version to $data_version, or dump the database and restore it into a new volume (ragstack:postgres.volume)." >&2
        exit 78
    fi
done

if [[ -s $PGDATA/PG_VERSION ]]; then
    # The password is generated from letters and digits, so it needs no quoting. It goes by standard input, which no
    # process list shows.
    if ! answer=$(printf "ALTER ROLE %s PASSWORD '%s'\n" "$POSTGRES_USER" "$(<"$password_file")" |
        postgres --single -D "$PGDATA" -c log_statement=none -c log_min_messages=error postgres 2>&1); then
        echo "ragstack: the administrator's password could not be set: ${answer//$(<"$password_file")/[secret]}" >&2
        exit 70
    fi
fi

exec docker-entrypoint.sh "$@"
