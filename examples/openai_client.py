"""The OpenAI library through the gateway: `make env`, then `set -a; . ./.env; python examples/openai_client.py`."""

import os

from openai import OpenAI

client = OpenAI(base_url=f"{os.environ['OLLAMA_HOST']}/v1", api_key=os.environ["OLLAMA_API_KEY"])
vectors = client.embeddings.create(model=os.environ["EMBEDDING_MODEL"], input="How do I get my money back?")
print(len(vectors.data[0].embedding), "dimensions")
answer = client.chat.completions.create(
    model=os.environ["CHAT_MODEL"], messages=[{"role": "user", "content": "Say hello."}], max_tokens=16
)
print(answer.choices[0].message.content)
