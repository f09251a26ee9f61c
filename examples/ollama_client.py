"""The Ollama library through the gateway: `make env`, then `set -a; . ./.env; python examples/ollama_client.py`."""

import os

from ollama import Client

client = Client(host=os.environ["OLLAMA_HOST"], headers={"Authorization": f"Bearer {os.environ['OLLAMA_API_KEY']}"})
vectors = client.embed(model=os.environ["EMBEDDING_MODEL"], input=["How do I get my money back?"]).embeddings
print(len(vectors[0]), "dimensions")
message = {"role": "user", "content": "Say hello."}
for part in client.chat(model=os.environ["CHAT_MODEL"], messages=[message], stream=True, options={"num_predict": 16}):
    print(part.message.content or "", end="", flush=True)
print()
