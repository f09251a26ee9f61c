#!/usr/bin/env bash
# Runs the registry and its blob server; when either ends, so does the container.
set -euo pipefail
: "${BLOB_URL:?the address at which clients reach port 5056, with a trailing slash}"
sed "s|@BLOB_URL@|$BLOB_URL|" /etc/stand-in/registry.yml > /tmp/registry.yml
nginx -e stderr -c /etc/stand-in/nginx.conf -g 'daemon off;' &
docker-registry serve /tmp/registry.yml &
trap 'kill $(jobs -p) 2>/dev/null; exit 0' TERM INT
wait -n
echo "entrypoint: one of the two servers ended; stopping" >&2
exit 1
