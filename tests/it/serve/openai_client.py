"""Calls a server with OpenAI's own client: python openai_client.py http://HOST:PORT/v1 SOUND

Prints what came, one JSON document a line.
"""

import json
import sys

import numpy as np
import openai


def show(**what):
    print(json.dumps(what))


def main(url, sound):
    client = openai.OpenAI(base_url=url, api_key="none", max_retries=0)
    show(models=[model.id for model in client.models.list()])
    texts = ["A man is eating food.", "A man is eating a piece of bread."]
    vectors = {}
    # The client asks for base64 where it is told nothing.
    for name, form in (("plain", {"encoding_format": "float"}), ("packed", {})):
        answer = client.embeddings.create(model="minilm", input=texts, **form)
        vectors[name] = [entry.embedding for entry in answer.data]
        tokens = answer.usage.prompt_tokens
    assert np.array_equal(np.array(vectors["plain"], np.float32), np.array(vectors["packed"], np.float32))
    first, second = vectors["plain"]
    show(cosine=sum(a * b for a, b in zip(first, second)), length=len(first), tokens=tokens)
    text = client.completions.create(model="tiny-gpt2:1.0.0", prompt="the cat", max_tokens=5)
    parts = client.completions.create(
        model="tiny-gpt2", prompt="the cat", max_tokens=5, stream=True, stream_options={"include_usage": True}
    )
    streamed, used, reasons = [], None, []
    for part in parts:
        used = part.usage or used
        streamed += [choice.text for choice in part.choices]
        reasons += [choice.finish_reason for choice in part.choices if choice.finish_reason]
    show(
        text=text.choices[0].text,
        streamed="".join(streamed),
        parts=len(streamed),
        tokens=text.usage.completion_tokens,
        streamed_tokens=used.completion_tokens,
        reason=text.choices[0].finish_reason,
        reasons=reasons,
    )
    whole = client.completions.create(model="tiny-gpt2", prompt="the cat", max_tokens=20).choices[0].text
    stop = whole[len(whole) // 2 :][:2]
    cut = client.completions.create(model="tiny-gpt2", prompt="the cat", max_tokens=20, stop=stop).choices[0]
    parts = client.completions.create(model="tiny-gpt2", prompt="the cat", max_tokens=20, stop=["\0", stop], stream=True)
    parts = [part.choices[0] for part in parts]
    show(
        whole=whole,
        stop=stop,
        cut=cut.text,
        streamed="".join(part.text for part in parts),
        reasons=[cut.finish_reason, parts[-1].finish_reason],
    )
    with open(sound, "rb") as file:
        show(heard=client.audio.transcriptions.create(model="tiny-whisper", file=file).text)
    for refused in (
        lambda: client.embeddings.create(model="nobody", input="x"),
        lambda: client.completions.create(model="tiny-gpt2", prompt="x", temperature=1),
        lambda: client.completions.create(model="tiny-gpt2", prompt="x", stop=""),
        lambda: client.embeddings.create(model="tiny-gpt2", input="x"),
    ):
        try:
            refused()
            show(refused=None)
        except openai.APIStatusError as error:
            show(refused=error.status_code, why=error.body["message"])


main(*sys.argv[1:])
