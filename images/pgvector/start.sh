#!/bin/bash
# Starts PostgreSQL by the image's own entrypoint, after it has looked at the data directory that is already there:
# that its major version is the image's, that its first initialisation got through, and that the administrator's
# password is the one of this stack. The last lets a volume outlive the stack that made it, and lets the password be
# changed: local connections inside the container are the only other way in.
set -euo pipefail

password_file=${POSTGRES_PASSWORD_FILE:?}
image_version=$(postgres --version)
image_version=${image_version##*) }
image_version=${image_version%%[. ]*}

refuse() {
    printf 'ragstack: %s\n' "$@" >&2
    exit 78
}

# From 18 on the image keeps a directory per major version below the mount; before, the mount is the directory.
for found in /var/lib/postgresql/PG_VERSION /var/lib/postgresql/data/PG_VERSION \
    /var/lib/postgresql/*/docker/PG_VERSION /var/lib/postgresql/data/*/docker/PG_VERSION; do
    [[ -s $found ]] || continue
    data_version=$(<"$found")
    [[ $data_version == "$image_version" ]] || refuse \
        "the data volume is of PostgreSQL $data_version, the image is PostgreSQL $image_version." \
        "mend: set ragstack:postgres.version to $data_version, or dump the database and restore it into a new volume (ragstack:postgres.volume)."
done

# initdb writes PG_VERSION first and pg_control later; a kill in between leaves a directory that no server can start from
# and no entrypoint would initialise again. Nothing is deleted here: that is for whoever knows the volume.
if [[ -s $PGDATA/PG_VERSION && ! -s $PGDATA/global/pg_control ]]; then
    refuse "the data volume is incomplete: its first initialisation was interrupted, before it could hold a row." \
        "mend: make down VOLUMES=1, or docker volume rm with the container removed, then run it again."
fi

if [[ -s $PGDATA/PG_VERSION ]]; then
    # The password is generated from letters and digits, so it needs no quoting. It goes by standard input, which no
    # process list shows. After a crash postmaster.pid may name the number that this shell has now; PostgreSQL leaves
    # the process that PG_GRANDPARENT_PID names out of its search for a running server.
    password=$(<"$password_file")
    # The server's single-user mode ends with 0 also when the statement failed.
    if ! answer=$(printf "ALTER ROLE %s PASSWORD '%s'\n" "$POSTGRES_USER" "$password" |
        PG_GRANDPARENT_PID=$$ postgres --single -D "$PGDATA" -c log_statement=none -c log_min_messages=error postgres 2>&1) ||
        [[ $answer == *ERROR:* ]]; then
        refuse "the administrator's password could not be set: ${answer//"$password"/[secret]}" \
            "mend: read the reason above; the data is untouched."
    fi
fi

exec docker-entrypoint.sh "$@"
