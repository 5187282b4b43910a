#!/usr/bin/env python3
"""ckpt/SHAPE -> gguf/SHAPE-{bf16,f16,f32}.gguf with llama.cpp's own converter: make_gguf.py SHAPE TYPE...
The converter knows pre-tokenizers by a hash over published vocabularies; ours are the published rules over another vocabulary, so the rule is named here."""
import os, sys
H = os.environ["PEERS"]; sys.path[:0] = [H + "/llama/src", H + "/llama/src/gguf-py"]
shape = sys.argv[1]; os.makedirs(H + "/gguf", exist_ok=True)
import convert_hf_to_gguf as c
from conversion.base import TextModel
TextModel.get_vocab_base_pre = lambda self, tokenizer: "llama-bpe" if shape == "1b" else "smollm"
for t in sys.argv[2:] or ["bf16"]:
    out = f"{H}/gguf/{shape}-{t}.gguf"
    if os.path.exists(out): continue
    sys.argv = ["convert", f"{H}/ckpt/{shape}", "--outfile", out + ".part", "--outtype", t]; c.main(); os.rename(out + ".part", out); print(out, os.path.getsize(out), flush=True)
