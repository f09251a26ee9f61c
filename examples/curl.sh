#!/bin/sh
# curl through the gateway: `make env`, then `set -a; . ./.env; sh examples/curl.sh`. The key is in no argument, where
# every user of the machine could read it.
set -eu
ask() {
    printf 'header = "Authorization: Bearer %s"\n' "$OLLAMA_API_KEY" | curl --config - --fail-with-body --silent --show-error "$@"
}
ask "$OLLAMA_HOST/api/tags"
ask "$OLLAMA_HOST/api/embed" --json "{\"model\": \"$EMBEDDING_MODEL\", \"input\": \"How do I get my money back?\"}"
ask "$OLLAMA_HOST/v1/chat/completions" \
    --json "{\"model\": \"$CHAT_MODEL\", \"max_tokens\": 16, \"messages\": [{\"role\": \"user\", \"content\": \"Say hello.\"}]}"
