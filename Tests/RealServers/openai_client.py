#!/usr/bin/env python3
"""What OpenAI's client makes of a server: every call that harnesses make, each with its check.

    openai_client.py ADDRESS MODEL
"""
import concurrent.futures
import math
import sys

import openai


def main(address, model):
    client = openai.OpenAI(base_url=address, api_key="none", max_retries=0)
    for check in (models, chat, streams, logprobs, samples, beams, completions, echo, harness_scoring, refusals, leaving,
                  many):
        print(f"{check.__name__}: {check(client, model)}")


def messages(text="Name three colours."):
    return [{"role": "system", "content": "Be brief."}, {"role": "user", "content": text}]


def ask(client, model, text="Name three colours.", **more):
    return client.chat.completions.create(model=model, messages=messages(text), **{"max_tokens": 12, **more})


def models(client, model):
    assert [m.id for m in client.models.list()] == [model]
    assert client.models.retrieve(model).id == model
    return "listed and found"


def chat(client, model):
    one, two = (ask(client, model, temperature=0) for _ in range(2))
    assert one.choices[0].message.content == two.choices[0].message.content
    assert one.choices[0].finish_reason in ("stop", "length")
    assert one.usage.total_tokens == one.usage.prompt_tokens + one.usage.completion_tokens
    assert one.usage.completion_tokens <= 12
    return one.usage


def streams(client, model):
    whole = ask(client, model, temperature=0)
    text, reason, usage = "", None, None
    for chunk in ask(client, model, temperature=0, stream=True, stream_options={"include_usage": True}):
        usage = chunk.usage or usage
        for choice in chunk.choices:
            text += choice.delta.content or ""
            reason = choice.finish_reason or reason
    assert text == whole.choices[0].message.content, (text, whole.choices[0].message.content)
    assert reason == whole.choices[0].finish_reason and usage == whole.usage
    return f"{usage.completion_tokens} tokens, the same as the whole answer"


def logprobs(client, model):
    reply = ask(client, model, temperature=0, logprobs=True, top_logprobs=5)
    content = reply.choices[0].logprobs.content
    for token in content:
        assert token.logprob <= 0 and len(token.top_logprobs) == 5
        assert token.top_logprobs[0].logprob == token.logprob, "greedy takes the best"
        assert math.fsum(math.exp(t.logprob) for t in token.top_logprobs) <= 1 + 1e-6
    data = bytes(b for token in content for b in token.bytes)
    assert data.decode(errors="replace").strip() == reply.choices[0].message.content.strip(), data
    streamed = [t for c in ask(client, model, temperature=0, logprobs=True, top_logprobs=5, stream=True)
                for choice in c.choices if choice.logprobs for t in choice.logprobs.content]
    assert streamed == content
    return f"{len(content)} tokens, streamed and whole"


def samples(client, model):
    draws = [[c.message.content for c in ask(client, model, n=4, seed=3).choices] for _ in range(2)]
    assert draws[0] == draws[1] and len(set(draws[0])) > 1, draws
    assert len({ask(client, model).choices[0].message.content for _ in range(4)}) > 1
    greedy = ask(client, model, n=2, temperature=0).choices
    assert greedy[0].message.content == greedy[1].message.content
    return "a seed repeats, no seed does not"


def beams(client, model):
    search = {"num_beams": 4, "length_penalty": 0.5}
    three, four = (ask(client, model, n=n, extra_body=search).choices for n in (3, 4))
    assert [c.message for c in three] == [c.message for c in four[:3]]
    vllm = ask(client, model, n=3, temperature=0,
               extra_body={"use_beam_search": True, "best_of": 4, "length_penalty": 0.5}).choices
    assert [c.message for c in three] == [c.message for c in vllm]
    return "the three best of four, in both spellings"


def completions(client, model):
    reply = client.completions.create(model=model, prompt=["One", "Two"], max_tokens=5, logprobs=3)
    assert [c.index for c in reply.choices] == [0, 1]
    logged = reply.choices[0].logprobs
    assert len(logged.tokens) == len(logged.token_logprobs) == len(logged.top_logprobs) == len(logged.text_offset)
    ids = client.completions.create(model=model, prompt=[[5, 6, 7], [8]], max_tokens=5)
    assert ids.usage.prompt_tokens == 4
    text = "".join(c.choices[0].text for c in client.completions.create(
        model=model, prompt="One", max_tokens=8, temperature=0, stream=True) if c.choices)
    assert text == client.completions.create(model=model, prompt="One", max_tokens=8, temperature=0).choices[0].text
    return reply.usage


def echo(client, model):
    reply = client.completions.create(model=model, prompt="One two three", max_tokens=0, echo=True, logprobs=2)
    choice = reply.choices[0]
    assert choice.text == "One two three" and choice.logprobs.token_logprobs[0] is None
    assert all(x <= 0 for x in choice.logprobs.token_logprobs[1:])
    return f"{len(choice.logprobs.tokens)} tokens scored"


def harness_scoring(client, model):
    """What lm-evaluation-harness asks and reads, against the same text generated greedily."""
    prompt = [5, 6, 7, 8]
    reply = client.completions.create(model=model, prompt=prompt, max_tokens=6, temperature=0, logprobs=1)
    generated = reply.choices[0].logprobs
    prefix = client.completions.create(model=model, prompt=prompt, max_tokens=1, echo=True, logprobs=1, temperature=0)
    scored = prefix.choices[0].logprobs
    assert len(scored.tokens) == len(prompt) + 1
    assert abs(scored.token_logprobs[-1] - generated.token_logprobs[0]) < 1e-5
    greedy = [a == max(b.values()) for a, b in zip(scored.token_logprobs[1:], scored.top_logprobs[1:])]
    assert greedy[-1]
    return f"greedy at {sum(greedy)} of {len(greedy)} places"


def refusals(client, model):
    def refused(kind, **more):
        try:
            ask(client, model, **more)
        except kind as error:
            return error
        raise AssertionError(f"{more} was accepted")

    for name, value in {"frequency_penalty": 1, "presence_penalty": 1, "logit_bias": {"5": 1},
                        "response_format": {"type": "json_object"}, "temperature": -1}.items():
        assert refused(openai.BadRequestError, **{name: value}).param == name
    assert refused(openai.BadRequestError, text="long " * 20_000).code == "context_length_exceeded"
    try:
        client.chat.completions.create(model="other", messages=messages())
        raise AssertionError("another model was accepted")
    except openai.NotFoundError as error:
        assert error.code == "model_not_found"
    try:
        ask(client, model, text="x" * (17 << 20))
        raise AssertionError("17 MB were accepted")
    except openai.APIStatusError as error:
        assert error.status_code == 413, error
    return "named by field, code and status"


def leaving(client, model):
    with ask(client, model, stream=True, max_tokens=900) as stream:
        for _ in zip(range(3), stream):
            pass
    return ask(client, model, temperature=0).usage.completion_tokens


def many(client, model):
    alone = [ask(client, model, text=f"No. {i}", temperature=0).choices[0].message.content for i in range(8)]
    with concurrent.futures.ThreadPoolExecutor(32) as pool:
        texts = list(pool.map(
            lambda i: ask(client, model, text=f"No. {i % 8}", temperature=0).choices[0].message.content, range(64)))
    assert texts == alone * 8
    return "64 answers, 32 at a time, each as it is alone"


if __name__ == "__main__":
    main(*sys.argv[1:])
