#!/usr/bin/env python3
"""Writes a Hugging Face checkpoint directory with random bf16 weights and a real byte-level BPE tokenizer.
  make_checkpoint.py SHAPE [OUT]     SHAPE: tiny | 135m | 1b; OUT: ckpt/SHAPE beside this file. Needs numpy, safetensors' layout only, tokenizers.
The tokenizer is trained on the English text of /usr/share/doc; what the text does not fill of the vocabulary is filled with entries that no merge reaches."""
import glob, html, json, os, re, struct, sys
import numpy as np
HERE = os.environ["PEERS"]
SMOL = dict(rms_norm_eps=1e-5, hidden_act="silu", attention_bias=False, mlp_bias=False, tie_word_embeddings=True, initializer_range=0.02)
SHAPES = {
  "tiny": dict(hidden_size=128, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=1, head_dim=64, intermediate_size=256, vocab_size=2048,
               rope_theta=10000.0, rope_scaling=None, max_position_embeddings=2048, bos_token_id=1, eos_token_id=2, pad_token_id=0),
  "135m": dict(hidden_size=576, num_hidden_layers=30, num_attention_heads=9, num_key_value_heads=3, head_dim=64, intermediate_size=1536, vocab_size=49152,
               rope_theta=100000.0, rope_scaling=None, max_position_embeddings=8192, bos_token_id=1, eos_token_id=2, pad_token_id=0),
  "1b": dict(hidden_size=2048, num_hidden_layers=16, num_attention_heads=32, num_key_value_heads=8, head_dim=64, intermediate_size=8192, vocab_size=128256,
             rope_theta=500000.0, rope_scaling=dict(factor=32.0, high_freq_factor=4.0, low_freq_factor=1.0, original_max_position_embeddings=8192, rope_type="llama3"),
             max_position_embeddings=131072, bos_token_id=128000, eos_token_id=128003, pad_token_id=128004),
}
LLAMA3 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
# ChatML: every message between <|im_start|>role and <|im_end|>
TEMPLATE = ("{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}{% endfor %}"
            "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}")

def corpus(limit):
    files = sorted(glob.glob("/usr/share/doc/**/*.txt", recursive=True)) + sorted(glob.glob("/usr/share/doc/**/README*", recursive=True))
    n = 0
    for f in files:
        try: t = open(f, encoding="utf-8").read()
        except (OSError, UnicodeDecodeError): continue
        if f.endswith(".html"):
            t = re.sub(r"(?s)<(script|style|nav)\b.*?</\1>", " ", t); t = html.unescape(re.sub(r"<[^>]*>", "", t))
        elif ".json" in f: t = t.replace("\\n", "\n").replace('\\"', '"')
        t = re.sub(r"\n\s*\n+", "\n\n", t); n += len(t)
        yield t
        if n > limit: return

def tokenizer(shape, d, out):
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers, AddedToken, Regex
    big = shape == "1b"; V = d["vocab_size"]; B = pre_tokenizers.ByteLevel
    head = [] if big else ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    tail = (["<|begin_of_text|>", "<|end_of_text|>", "<|im_start|>", "<|im_end|>", "<|pad|>"] + [f"<|reserved_special_token_{i}|>" for i in range(251)]) if big else []
    body = V - len(head) - len(tail)
    t = Tokenizer(models.BPE())
    t.pre_tokenizer = (pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(LLAMA3), "isolated"), B(add_prefix_space=False, use_regex=False)]) if big
                       else pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), B(add_prefix_space=False, use_regex=True)]))
    t.decoder = decoders.ByteLevel()
    limit = int(os.environ.get("CORPUS_BYTES", 4_000_000 if shape == "tiny" else 24_000_000))
    t.train_from_iterator(corpus(limit), trainers.BpeTrainer(vocab_size=body, initial_alphabet=sorted(B.alphabet()), show_progress=False, min_frequency=2))
    s = json.loads(t.to_str()); m = s["model"]; v = m["vocab"]; learned = len(v)
    words = sorted(v, key=v.get); i = 0
    while len(words) < body:
        w = f"filler{i:06d}"; i += 1
        if w not in v: words.append(w)
    words = head + words + tail
    assert len(words) == V == len(set(words)), (len(words), V)
    m["vocab"] = {w: i for i, w in enumerate(words)}; m["ignore_merges"] = big
    ids = list(range(len(head))) + list(range(V - len(tail), V))
    s["added_tokens"] = [dict(id=i, content=words[i], single_word=False, lstrip=False, rstrip=False, normalized=False, special=True) for i in ids]
    if big:
        bos = words[d["bos_token_id"]]
        tpl = processors.Sequence([processors.ByteLevel(trim_offsets=True), processors.TemplateProcessing(single=f"{bos} $A", pair=f"{bos} $A {bos}:1 $B:1", special_tokens=[(bos, d["bos_token_id"])])])
        t.post_processor = tpl; s["post_processor"] = json.loads(t.to_str())["post_processor"]
    open(out + "/tokenizer.json", "w").write(json.dumps(s, ensure_ascii=False))
    Tokenizer.from_file(out + "/tokenizer.json")
    name = lambda k: words[d[k]]
    cfg = dict(tokenizer_class="PreTrainedTokenizerFast", model_max_length=d["max_position_embeddings"], clean_up_tokenization_spaces=False, add_prefix_space=False,
               bos_token=name("bos_token_id"), eos_token=name("eos_token_id"), pad_token=name("pad_token_id"), chat_template=TEMPLATE,
               added_tokens_decoder={str(i): dict(content=words[i], single_word=False, lstrip=False, rstrip=False, normalized=False, special=True) for i in ids})
    json.dump(cfg, open(out + "/tokenizer_config.json", "w"), indent=1)
    json.dump({k: cfg[k] for k in ("bos_token", "eos_token", "pad_token")}, open(out + "/special_tokens_map.json", "w"), indent=1)
    print(f"tokenizer: {learned} learned + {len(words) - learned - len(head) - len(tail)} filler + {len(head) + len(tail)} special = {V}", flush=True)

def weights(d, out, seed=0):
    h, I, V, hd = d["hidden_size"], d["intermediate_size"], d["vocab_size"], d["head_dim"]
    q, k = d["num_attention_heads"] * hd, d["num_key_value_heads"] * hd
    T = [("model.embed_tokens.weight", (V, h))]
    for i in range(d["num_hidden_layers"]):
        p = f"model.layers.{i}."
        T += [(p + "input_layernorm.weight", (h,)), (p + "self_attn.q_proj.weight", (q, h)), (p + "self_attn.k_proj.weight", (k, h)), (p + "self_attn.v_proj.weight", (k, h)),
              (p + "self_attn.o_proj.weight", (h, q)), (p + "post_attention_layernorm.weight", (h,)), (p + "mlp.gate_proj.weight", (I, h)), (p + "mlp.up_proj.weight", (I, h)), (p + "mlp.down_proj.weight", (h, I))]
    T.append(("model.norm.weight", (h,)))
    head, at = {"__metadata__": {"format": "pt"}}, 0
    for n, s in T: b = 2 * int(np.prod(s)); head[n] = dict(dtype="BF16", shape=list(s), data_offsets=[at, at + b]); at += b
    j = json.dumps(head, separators=(",", ":")).encode(); j += b" " * (-len(j) % 8)
    rng = np.random.default_rng(seed)
    def bf16(x): u = x.view(np.uint32); return ((u + 0x7fff + ((u >> 16) & 1)) >> 16).astype(np.uint16)
    with open(out + "/model.safetensors", "wb") as f:
        f.write(struct.pack("<Q", len(j)) + j)
        for n, s in T:
            if len(s) == 1: bf16(np.ones(s, np.float32)).tofile(f); continue
            for a in range(0, s[0], 8192): bf16(rng.standard_normal((min(8192, s[0] - a), s[1]), dtype=np.float32) * np.float32(0.02)).tofile(f)
    print(f"weights: {at // 2 / 1e6:.1f} M parameters", flush=True)

def main():
    shape = sys.argv[1]; out = sys.argv[2] if len(sys.argv) > 2 else f"{HERE}/ckpt/{shape}"; d = SHAPES[shape]; os.makedirs(out, exist_ok=True)
    json.dump(dict(architectures=["LlamaForCausalLM"], model_type="llama", torch_dtype="bfloat16", use_cache=True, **SMOL, **d), open(out + "/config.json", "w"), indent=1)
    json.dump(dict(bos_token_id=d["bos_token_id"], eos_token_id=d["eos_token_id"], pad_token_id=d["pad_token_id"], do_sample=False), open(out + "/generation_config.json", "w"), indent=1)
    tokenizer(shape, d, out); weights(d, out)

main()
