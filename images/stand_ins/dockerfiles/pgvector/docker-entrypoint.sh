#!/usr/bin/env bash
# First start: makes the cluster, its role and database, runs what is mounted in /docker-entrypoint-initdb.d.
# Every start: becomes `postgres`. Other commands run as they are.
# Works as root (drops to 999) and as 999 without capabilities.
set -Eeuo pipefail

init_folder=/docker-entrypoint-initdb.d

say() { printf 'entrypoint: %s\n' "$*" >&2; }
refuse() { say "error: $*"; exit 1; }

# NAME from the environment, or the content of the file that NAME_FILE names, or the default.
setting() {
    local name=$1 default=${2-} file_name=${1}_FILE
    if [[ -n ${!name-} && -n ${!file_name-} ]]; then refuse "$name and $file_name are both set; set one"; fi
    if [[ -n ${!file_name-} ]]; then
        [[ -r ${!file_name} ]] || refuse "$file_name names ${!file_name}, which uid $(id -u) cannot read"
        printf '%s' "$(<"${!file_name}")"
    else
        printf '%s' "${!name:-$default}"
    fi
}

become_postgres() {
    mkdir -p "$PGDATA" /var/run/postgresql
    find "$PGDATA" /var/run/postgresql \! -user postgres -exec chown postgres:postgres {} +
    exec setpriv --reuid=postgres --regid=postgres --clear-groups -- "${BASH_SOURCE[0]}" "$@"
}

run_init_file() {
    case $1 in
        *.sql) say "running $1"; psql_as_owner --file="$1" ;;
        *.sql.gz) say "running $1"; gunzip -c "$1" | psql_as_owner ;;
        *.sh)
            say "running $1"
            # shellcheck source=/dev/null
            if [[ -x $1 ]]; then "$1"; else . "$1"; fi ;;
        *) say "ignoring $1" ;;
    esac
}

psql_as_owner() {
    psql --no-psqlrc --no-password --quiet --set=ON_ERROR_STOP=1 \
        --username="$POSTGRES_USER" --dbname="$POSTGRES_DB" "$@"
}

initialise() {
    POSTGRES_USER=$(setting POSTGRES_USER postgres)
    POSTGRES_DB=$(setting POSTGRES_DB "$POSTGRES_USER")
    POSTGRES_PASSWORD=$(setting POSTGRES_PASSWORD)
    local init_args file
    init_args=$(setting POSTGRES_INITDB_ARGS)
    [[ -n $POSTGRES_PASSWORD ]] || refuse "no password: set POSTGRES_PASSWORD_FILE (or POSTGRES_PASSWORD)"
    export POSTGRES_USER POSTGRES_DB

    say "initialising $PGDATA"
    # shellcheck disable=SC2086
    initdb --pgdata="$PGDATA" --username="$POSTGRES_USER" --pwfile=<(printf '%s\n' "$POSTGRES_PASSWORD") \
        --encoding=UTF8 --auth-local=trust --auth-host=scram-sha-256 $init_args >&2
    printf '\nhost all all all scram-sha-256\n' >> "$PGDATA/pg_hba.conf"

    # No TCP until the init files have run, so that a client never meets a half-made database.
    pg_ctl --pgdata="$PGDATA" --wait --silent start -o "-c listen_addresses=''" >&2
    if [[ $POSTGRES_DB != postgres ]]; then
        createdb --no-password --username="$POSTGRES_USER" --maintenance-db=postgres "$POSTGRES_DB"
    fi
    for file in "$init_folder"/*; do
        [[ -e $file ]] && run_init_file "$file"
    done
    pg_ctl --pgdata="$PGDATA" --wait --silent --mode=fast stop >&2
    unset POSTGRES_PASSWORD
    say "initialised"
}

[[ ${1-} == -* ]] && set -- postgres "$@"
if [[ ${1-} == postgres ]]; then
    [[ $(id -u) == 0 ]] && become_postgres "$@"
    [[ -w $PGDATA ]] || refuse "uid $(id -u) cannot write $PGDATA: give the volume to 999:999"
    chmod 0700 "$PGDATA" 2>/dev/null || true
    [[ -s $PGDATA/PG_VERSION ]] || initialise
fi
exec "$@"
