"""Vocabularies that tokenizers' BpeTrainer learns: fixtures of BytePairTrainerTests."""
import json, random, tokenizers
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

SPECIAL = ["<s>", "</s>", "<|user|>"]

def train(texts, size):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)])
    tokenizer.train_from_iterator(texts, trainers.BpeTrainer(
        vocab_size=size, min_frequency=2, special_tokens=SPECIAL, show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    model = json.loads(tokenizer.to_str())["model"]
    merges = [merge if isinstance(merge, list) else merge.split(" ") for merge in model["merges"]]
    return dict(texts=texts, vocabulary_size=size, vocab=model["vocab"], merges=merges)

rng = random.Random(3)
syllables = ["ba", "na", "ma", "lo", "li", "tre", "st", "on", "an", "aaa"]
word = lambda: "".join(rng.choice(syllables) for _ in range(rng.randint(1, 4)))
words = [" ".join(word() for _ in range(rng.randint(3, 12))) for _ in range(60)]
mixed = ["aaaa aaaaa aaaaaaa", "it's 12 or 1234, isn't it?", "é è ê é", "\U0001F600\U0001F600 \U0001F600", "x  y\n\n\tz  y"]
print(json.dumps(dict(library=f"tokenizers {tokenizers.__version__}",
                      runs=[train(words, 330), train(words, 2000), train(mixed, 300), train(mixed * 2, 300)])))
