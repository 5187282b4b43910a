#!/usr/bin/env python3
"""Asks a served model for the log-probabilities of rows: served.py BASE_URL < ROWS.jsonl, as load.py prints them."""
import json, sys, urllib.request


def post(url, body):
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request) as reply:
        return json.load(reply)


base = sys.argv[1].strip()
with urllib.request.urlopen(f"{base}/models") as reply:
    model = json.load(reply)["data"][0]["id"]
for line in sys.stdin:
    body = {"model": model, "prompt": json.loads(line)["ids"], "echo": True, "logprobs": 0, "max_tokens": 0}
    logprobs = post(f"{base}/completions", body)["choices"][0]["logprobs"]["token_logprobs"]
    print(json.dumps({"logprobs": logprobs[1:]}))
