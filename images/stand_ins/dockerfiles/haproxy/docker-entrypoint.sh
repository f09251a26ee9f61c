#!/bin/sh
# As the official image starts it: a master that reloads on a signal, in the foreground.
set -eu
if [ "${1:-}" = haproxy ]; then
    shift
    set -- haproxy -W -db "$@"
fi
exec "$@"
