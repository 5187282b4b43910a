#!/usr/bin/env python3
"""A task whose quality a program can check: copy, reverse or sort some letters.

  task.py data FOLDER     demonstrations (half of them wrong, of three lengths), prompts to sample for, held-out prompts
  task.py score           a scorer for `train prepare`: JSON Lines in, the last message's score out
  task.py judge           a judge for `run`: JSON Lines in, [[A]], [[B]] or [[C]] out
  task.py others          500 prompts that `data` gives nobody, to choose settings by
  task.py report FILES    of each file of outputs: their mean score, how many are all right, their mean length
  task.py tokenizer FILE  writes the tokenizer that lies in base/

Whether a demonstration is right has nothing to do with how long it is. A score is the share of letters that stand where
they should, so it does not know length either.
"""
import json, os, random, re, sys

LETTERS = "abcdefghij"
TASKS = {"Copy": lambda x: x, "Reverse": lambda x: x[::-1], "Sort": sorted}
WORDINGS = [
    "{}.",
    "Answer: {}.",
    "Here are the letters in the order that you asked for: {}. Please tell me if you need anything else today.",
]


def prompt(rng):
    task = rng.choice(list(TASKS))
    letters = [rng.choice(LETTERS) for _ in range(rng.randint(4, 6))]
    return f"{task}: {' '.join(letters)}"


def answer_of(text):
    task, letters = text.split(": ", 1)
    return list(TASKS[task](letters.split()))


def demonstration(rng, text):
    letters = answer_of(text)
    if rng.random() < 0.5:
        for _ in range(rng.randint(1, 2)):
            letters[rng.randrange(len(letters))] = rng.choice(LETTERS)
    return rng.choice(WORDINGS).format(" ".join(letters))


def score(text, output):
    """The share of letters in place; 0 where there is no list of letters."""
    lists = re.findall(r"(?<![a-z])[a-j](?: [a-j])+(?![a-z])", output)
    if not lists:
        return 0.0
    found, wanted = lists[0].split(), answer_of(text)
    return sum(a == b for a, b in zip(found, wanted)) / max(len(found), len(wanted))


def write_lines(path, rows):
    with open(path, "w") as file:
        for row in rows:
            file.write(json.dumps(row) + "\n")


def data(folder):
    os.makedirs(folder, exist_ok=True)
    rng = random.Random(1)
    prompts = list(dict.fromkeys(prompt(rng) for _ in range(60_000)))
    held_out, sampled, demonstrated = prompts[:500], prompts[500:4_500], prompts[4_500:40_500]
    write_lines(f"{folder}/sft.jsonl", (
        {"messages": [{"role": "user", "content": p}, {"role": "assistant", "content": demonstration(rng, p)}]}
        for p in demonstrated))
    write_lines(f"{folder}/prompts.jsonl", ({"prompt": p} for p in sampled))
    with open(f"{folder}/held-out.json", "w") as file:
        json.dump([{"instruction": p, "output": ""} for p in held_out], file)


def others():
    rng = random.Random(1)
    prompts = list(dict.fromkeys(prompt(rng) for _ in range(60_000)))
    print(json.dumps([{"instruction": p, "output": ""} for p in prompts[40_500:41_000]]))


def report(paths):
    print(f"{'model':10} {'score':>6} {'right':>6} {'characters':>11}")
    for path in paths:
        outputs = json.load(open(path))
        scores = [score(row["instruction"], row["output"]) for row in outputs]
        length = sum(len(row["output"]) for row in outputs) / len(outputs)
        print(f"{outputs[0]['generator']:10} {sum(scores) / len(scores):6.3f} {scores.count(1):6} {length:11.1f}")


def replies(answer):
    for line in sys.stdin:
        request = json.loads(line)
        print(json.dumps({"id": request["id"], "text": answer(request["messages"])}), flush=True)


def verdict(messages):
    request, first, second = messages[-1]["content"].split("\n=====\n")
    a, b = score(request, first), score(request, second)
    return "[[A]]" if a > b else "[[B]]" if b > a else "[[C]]"


def tokenizer(path):
    """A byte-level BPE with a token for every letter behind a space, and for every word of a wording or a task."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [b for b in range(256) if b not in printable]
    symbols = {b: chr(b) for b in printable} | {b: chr(256 + n) for n, b in enumerate(others)}
    vocabulary = {symbols[b]: b for b in range(256)}
    first = [*TASKS, *(words.split()[0].strip(":") for words in WORDINGS if words[0].isalpha())]
    later = [" " + word for words in WORDINGS for word in re.findall(r"(?<= )[A-Za-z]+", words)]
    words = [*(" " + letter for letter in LETTERS), *first, *later]
    merges = []
    for word in dict.fromkeys(word.replace(" ", "Ġ") for word in words):
        merges += [f"{word[:n]} {word[n]}" for n in range(1, len(word))]
    merges = list(dict.fromkeys(merges))
    special = ["<s>", "</s>", "<|user|>", "<|assistant|>"]
    vocabulary |= {text: 256 + n for n, text in enumerate(special)}
    added = [dict(id=256 + n, content=text, single_word=False, lstrip=False, rstrip=False, normalized=False,
                  special=True) for n, text in enumerate(special)]
    for n, merge in enumerate(merges):
        vocabulary[merge.replace(" ", "")] = 260 + n
    level = dict(type="ByteLevel", add_prefix_space=False, trim_offsets=True, use_regex=True)
    with open(path, "w") as file:
        json.dump(dict(
            version="1.0", truncation=None, padding=None, added_tokens=added, normalizer=None, pre_tokenizer=level,
            post_processor=None, decoder=level,
            model=dict(type="BPE", dropout=None, unk_token=None, continuing_subword_prefix=None,
                       end_of_word_suffix=None, fuse_unk=False, byte_fallback=False, ignore_merges=False,
                       vocab=vocabulary, merges=merges)), file, ensure_ascii=False)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["data", folder]:
            data(folder)
        case ["score"]:
            replies(lambda messages: str(score(messages[0]["content"], messages[-1]["content"])))
        case ["judge"]:
            replies(verdict)
        case ["others"]:
            others()
        case ["report", *paths]:
            report(paths)
        case ["tokenizer", path]:
            tokenizer(path)
        case _:
            sys.exit(__doc__)
