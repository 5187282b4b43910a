"""TRL's steps on the shape, the random rows and the settings of TrainingBenchmark; prints one JSON line.

    train_trl.py --method simpo|dpo --precision autocast|bf16|f32 [--shape 135m|tiny] [--steps 4] [--pairs 4]
                 [--prompt 128] [--threads 2] [--seconds 0]

SimPO is CPOTrainer's (beta 2, gamma 1, no likelihood term), DPO is DPOTrainer's (beta 0.1) with a reference model in
memory. autocast keeps f32 weights and multiplies in bf16, bf16 has everything in bf16, f32 nothing. After --seconds of
training it ends with the steps that are done; where there is none, the time so far is a bound of one.
"""
import argparse, json, os, statistics, sys, tempfile, threading, time

SHAPES = {"135m": dict(hidden_size=576, num_hidden_layers=30, num_attention_heads=9, num_key_value_heads=3,
                       intermediate_size=1536, vocab_size=49152),
          "tiny": dict(hidden_size=128, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=1,
                       intermediate_size=256, vocab_size=2048)}


def main():
    options = arguments()
    os.environ.update(HF_HUB_OFFLINE="1", TRL_EXPERIMENTAL_SILENCE="1", WANDB_DISABLED="true")
    import torch, transformers, trl
    from datasets import Dataset
    torch.set_num_threads(options.threads)
    shape = SHAPES[options.shape]
    rows = random_rows(options, shape["vocab_size"])
    words = lambda ids: " ".join(f"t{id}" for id in ids)
    dataset = Dataset.from_list([dict(prompt=words(prompt), chosen=" " + words(chosen), rejected=" " + words(rejected))
                                 for prompt, chosen, rejected in rows])
    times, padded = [], []

    class Clock(transformers.TrainerCallback):
        start = None
        def on_step_begin(self, *_, **__): self.start = time.monotonic()
        def on_step_end(self, *_, **__): times.append(time.monotonic() - self.start)
        def on_train_begin(self, *_, **__):
            # A thread, since a signal would wait for the end of a product that takes minutes.
            if options.seconds: threading.Thread(target=self.watch, daemon=True).start()
        def watch(self):
            time.sleep(options.seconds)
            end()
    clock = Clock()

    versions = f"TRL {trl.__version__}, transformers {transformers.__version__}, torch {torch.__version__}"
    def end():
        running = None if times or clock.start is None else time.monotonic() - clock.start
        print(json.dumps(report(options, shape, rows, times, running, padded, versions)), flush=True)
        os._exit(0)
    with tempfile.TemporaryDirectory() as folder:
        trainer = make_trainer(options, shape, dataset, folder, clock)
        trainer._get_train_sampler = lambda *_: torch.utils.data.SequentialSampler(dataset)
        collate = trainer.data_collator
        def counting(features):
            batch = collate(features)
            padded.append(batch["input_ids"].numel() if "input_ids" in batch else
                          2 * options.pairs * max(batch[f"{row}_input_ids"].shape[1] for row in ("chosen", "rejected")))
            return batch
        trainer.data_collator = counting
        trainer.train()
    end()


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("--method", choices=["simpo", "dpo"], required=True)
    parser.add_argument("--precision", choices=["autocast", "bf16", "f32"], required=True)
    parser.add_argument("--shape", choices=SHAPES, default="135m")
    for name, value in dict(steps=4, pairs=4, prompt=128, threads=2, seconds=0).items():
        parser.add_argument(f"--{name}", type=int, default=value)
    return parser.parse_args()


def random_rows(options, vocabulary):
    """The rows of TrainingBenchmark: its generator, asked in its order."""
    state = 7
    def below(bound):
        nonlocal state
        state = (state * 6364136223846793005 + 1442695040888963407) % 2**64
        return (state >> 33) % bound
    tokens = lambda count: [4 + below(vocabulary - 4) for _ in range(count)]
    response = lambda: tokens(200 + below(201))
    return [(tokens(options.prompt), response(), response()) for _ in range(options.steps * options.pairs)]


def make_trainer(options, shape, dataset, folder, clock):
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM
    dtype = torch.bfloat16 if options.precision == "bf16" else torch.float32
    config = LlamaConfig(**shape, head_dim=64, max_position_embeddings=2048, tie_word_embeddings=True, bos_token_id=1,
                         eos_token_id=2, pad_token_id=0, attn_implementation="sdpa")
    def model():
        torch.manual_seed(1)
        return LlamaForCausalLM(config).to(dtype)
    settings = dict(
        output_dir=folder, per_device_train_batch_size=options.pairs, gradient_accumulation_steps=1,
        max_steps=options.steps, learning_rate=1e-6, lr_scheduler_type="constant", bf16=options.precision == "autocast",
        use_cpu=True, max_length=2048, gradient_checkpointing=False, dataloader_pin_memory=False, save_strategy="no",
        logging_steps=1, report_to="none", disable_tqdm=True, seed=1)
    common = dict(train_dataset=dataset, processing_class=tokenizer(shape["vocab_size"]), callbacks=[clock])
    if options.method == "simpo":
        from trl.experimental.cpo import CPOConfig, CPOTrainer
        settings = CPOConfig(loss_type="simpo", cpo_alpha=0.0, beta=2.0, simpo_gamma=1.0, **settings)
        return CPOTrainer(model(), args=settings, **common)
    from trl import DPOConfig, DPOTrainer
    return DPOTrainer(model(), ref_model=model(), args=DPOConfig(beta=0.1, **settings), **common)


def tokenizer(vocabulary):
    """One word a token."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast
    words = {"<pad>": 0, "<s>": 1, "</s>": 2, "<unk>": 3} | {f"t{id}": id for id in range(4, vocabulary)}
    words = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=words, pad_token="<pad>", bos_token="<s>", eos_token="</s>",
                                   unk_token="<unk>")


def report(options, shape, rows, times, running, padded, versions):
    # The first step brings memory into being.
    timed = times[1:] or times or [running] * (running is not None)
    row = dict(engine=versions, method=options.method, precision=options.precision, pairs=options.pairs,
               steps=len(timed), is_cut=len(times) < options.steps, is_bound=running is not None)
    if not timed:
        return row | dict(error="no step was done in time")
    median = statistics.median(timed)
    steps = len(times) or 1
    rows = rows[:steps * options.pairs]
    targets = sum(len(chosen) + len(rejected) for _, chosen, rejected in rows) / steps
    tokens = targets + 2 * options.prompt * options.pairs
    hidden, heads = shape["hidden_size"], 64 * (2 * shape["num_attention_heads"] + 2 * shape["num_key_value_heads"])
    body = shape["num_hidden_layers"] * hidden * (heads + 3 * shape["intermediate_size"])
    # As TrainingBenchmark counts: forward and backward, every product once, the head at targets alone.
    flop = (8 if options.method == "dpo" else 6) * (body * tokens + shape["vocab_size"] * hidden * targets)
    peak = next(int(line.split()[1]) // 1024 for line in open("/proc/self/status") if line.startswith("VmHWM:"))
    return row | dict(
        step_s_median=round(median, 3), step_s_min=round(min(timed), 3), step_s_max=round(max(timed), 3),
        pairs_s=round(options.pairs / median, 3), tokens_step=round(tokens),
        padded_tokens_step=round(statistics.mean(padded)), peak_rss_mb=peak,
        gflop_step=round(flop * 1e-9, 3), gflops=round(flop * 1e-9 / median, 3))


if __name__ == "__main__":
    sys.exit(main())
