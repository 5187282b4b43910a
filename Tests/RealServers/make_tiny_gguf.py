#!/usr/bin/env python3
"""Writes a random two-layer llama in GGUF that knows one thing: to answer "m" or "M".

    make_tiny_gguf.py MODEL.gguf        (needs the package gguf)

Every embedding carries a constant in channel 0, which no layer reads or writes, only the rows of "m" and "M" in the
output matrix: they are always the two likeliest tokens, and which of them leads depends on the prompt.
"""
import sys

import gguf
import numpy as np

width, layers, heads, hidden = 64, 2, 4, 128
context = 8192   # in bytes: the vocabulary has no words
pieces = [b"<unk>", b"<s>", b"</s>"] + [b"<0x%02X>" % byte for byte in range(256)] + [b"m", b"M"]
kinds = [gguf.TokenType.UNKNOWN] + 2 * [gguf.TokenType.CONTROL] + 256 * [gguf.TokenType.BYTE] + 2 * [gguf.TokenType.NORMAL]
template = "{% for m in messages %}<{{ m.role }}>{{ m.content }}\n{% endfor %}<assistant>"


def main(path):
    writer = gguf.GGUFWriter(path, "llama")
    describe(writer)
    for name, values in weights(np.random.default_rng(0)):
        writer.add_tensor(name, values.astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def describe(writer):
    writer.add_name("tiny")
    writer.add_context_length(context)
    writer.add_embedding_length(width)
    writer.add_block_count(layers)
    writer.add_feed_forward_length(hidden)
    writer.add_head_count(heads)
    writer.add_head_count_kv(heads)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(width // heads)
    writer.add_vocab_size(len(pieces))
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    writer.add_tokenizer_model("llama")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(pieces)
    writer.add_token_scores([0.0] * len(pieces))
    writer.add_token_types(kinds)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_chat_template(template)


def weights(random):
    """Tensors by llama.cpp's names; matrices are (out, in)."""
    def matrix(rows, columns, scale):
        return random.standard_normal((rows, columns)) * scale

    def reading(rows, scale):
        values = matrix(rows, width, scale)
        values[:, 0] = 0
        return values

    def writing(columns, scale):
        values = matrix(width, columns, scale)
        values[0] = 0
        return values

    embedding, output = matrix(len(pieces), width, 1), reading(len(pieces), 0.5)
    embedding[:, 0] = 40
    output[-2:, 0] = 4
    yield "token_embd.weight", embedding
    yield "output_norm.weight", np.ones(width)
    yield "output.weight", output
    for layer in range(layers):
        block = f"blk.{layer}."
        yield block + "attn_norm.weight", np.ones(width)
        yield block + "ffn_norm.weight", np.ones(width)
        yield block + "attn_q.weight", reading(width, 3)   # sharp: the last row's view of the prompt is no average
        yield block + "attn_k.weight", reading(width, 3)
        yield block + "attn_v.weight", reading(width, 0.4)
        yield block + "attn_output.weight", writing(width, 0.4)
        yield block + "ffn_gate.weight", reading(hidden, 0.2)
        yield block + "ffn_up.weight", reading(hidden, 0.2)
        yield block + "ffn_down.weight", writing(hidden, 0.2)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
