"""Writes generation.json: what transformers' `generate` answers for a toy model.

    pip install torch==2.13.0 transformers==4.57.6 numpy
    python make_generation.py [cases] [seed] > generation.json

The toy model's logits are a hash of the token prefix, exact in single precision, so that any language can repeat them.
"""

import json
import random
import sys

import numpy as np
import torch
import transformers
from transformers import GenerationMixin, PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import CausalLMOutput

MASK = 2**64 - 1
GOLDEN = 0x9E3779B97F4A7C15


def mix(z):
    z = ((z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)) & np.uint64(MASK)
    z = ((z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)) & np.uint64(MASK)
    return z ^ (z >> np.uint64(31))


def toy_logits(seed, prefix, vocabulary, favoured):
    h = seed
    for token in prefix:
        h = ((h ^ (token + 1)) * 0x100000001B3) & MASK
        h ^= h >> 29
    with np.errstate(over="ignore"):
        z = mix(np.uint64(h) + np.arange(1, vocabulary + 1, dtype=np.uint64) * np.uint64(GOLDEN))
    logits = (z >> np.uint64(40)).astype(np.float32) / np.float32(2**21) - np.float32(4)
    logits[favoured] += np.float32(2)
    return logits


class ToyConfig(PretrainedConfig):
    model_type = "toy"


class ToyModel(PreTrainedModel, GenerationMixin):
    config_class = ToyConfig

    def __init__(self, config):
        super().__init__(config)
        self.anchor = torch.nn.Parameter(torch.zeros(1))

    def prepare_inputs_for_generation(self, input_ids, **kwargs):
        return {"input_ids": input_ids}

    def forward(self, input_ids, return_dict=True, **kwargs):
        config = self.config
        rows = [toy_logits(config.seed, row, config.vocab_size, config.favoured) for row in input_ids.tolist()]
        return CausalLMOutput(logits=torch.tensor(np.stack(rows))[:, None, :])


def case(rng):
    vocabulary = rng.choice([16, 24, 40, 100, 300])
    prompt = [rng.randrange(vocabulary) for _ in range(rng.randint(1, 6))]
    ends = rng.sample(range(vocabulary), rng.choice([0, 1, 1, 1, 2, 3]))
    favoured = ends if rng.random() < 0.6 else []
    config = ToyConfig(vocab_size=vocabulary, seed=rng.getrandbits(63), favoured=favoured)
    setting = {
        "num_beams": rng.choice([1, 2, 2, 3, 4, 5]),
        "length_penalty": rng.choice([-1.0, 0.0, 0.5, 0.8, 1.0, 1.0, 1.3, 2.0]),
        "early_stopping": rng.choice([False, True, "never"]),
        "max_new_tokens": rng.choice([1, 2, 5, 10, 16]),
        "repetition_penalty": rng.choice([1.0, 1.0, 1.0, 0.8, 1.3]),
        # Single tokens only where there are enough: `generate` goes on with token 0 when none is left.
        "no_repeat_ngram_size": rng.choice([0, 0, 0, 2, 3, 1 if vocabulary >= 100 else 2]),
        "min_new_tokens": rng.choice([0, 0, 0, 4]),
    }
    if setting["num_beams"] == 1:
        del setting["length_penalty"], setting["early_stopping"]
    if rng.random() < 0.25:
        words = [[rng.randrange(vocabulary) for _ in range(rng.randint(1, 3))] for _ in range(6)]
        setting["bad_words_ids"] = words
    if rng.random() < 0.25:
        setting["suppress_tokens"] = rng.sample(range(vocabulary), 3)
    output = ToyModel(config).generate(
        torch.tensor([prompt]), do_sample=False, num_return_sequences=setting["num_beams"], use_cache=False,
        eos_token_id=ends or None, pad_token_id=0, return_dict_in_generate=True, output_scores=True, **setting)
    sequences = []
    for row in output.sequences[:, len(prompt):].tolist():
        end = next((i for i, token in enumerate(row) if token in ends), len(row) - 1)
        sequences.append(row[:end + 1])
    scores = getattr(output, "sequences_scores", None)
    if scores is not None and (scores[:-1] - scores[1:] < 2e-6 * scores[1:].abs()).any():
        return case(rng)  # A tie: torch's order of equals is no rule.
    return {
        "seed": str(config.seed), "vocabulary": vocabulary, "prompt": prompt, "eos_token_id": ends,
        "favoured": favoured, **setting,
        "sequences": sequences, "scores": None if scores is None else [float("%.9g" % s) for s in scores.tolist()],
    }


if __name__ == "__main__":
    transformers.logging.set_verbosity_error()
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 150
    rng = random.Random(int(sys.argv[2]) if len(sys.argv) > 2 else 11)
    cases = [case(rng) for _ in range(count)]
    print('{"versions": %s,\n "cases": [' % json.dumps(
        {"torch": torch.__version__, "transformers": transformers.__version__, "numpy": np.__version__}))
    print(",\n".join(json.dumps(c, separators=(",", ":")) for c in cases))
    print("]}")
