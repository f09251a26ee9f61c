#!/bin/bash
# Pulls the models of $MODELS into $OLLAMA_MODELS with a server of its own, and fails when any of them fails.
set -euo pipefail

# Seconds. The server answers within one on an idle machine; a busy builder gets time.
deadline=$((SECONDS + 120))

ollama serve &
server=$!
trap 'kill "$server"; wait "$server" || true' EXIT

until ollama list >/dev/null 2>&1; do
    if ! kill -0 "$server" 2>/dev/null || ((SECONDS > deadline)); then
        echo "the Ollama server did not answer while models were being baked" >&2
        exit 1
    fi
    read -r -t 0.2 <> <(:) || true
done

for pair in $MODELS; do
    source=${pair%%=*} name=${pair#*=}
    # shellcheck disable=SC2086 # PULL_FLAGS is empty or one flag
    ollama pull $PULL_FLAGS "$source"
    if [[ $source != "$name" ]]; then
        ollama cp "$source" "$name"
        ollama rm "$source"
    fi
    ollama show "$name" >/dev/null
done
