/// The program that trains with Hugging Face's TRL what this engine prepared: a run's rows, order and learning rates.
///
/// It is written beside the run's description, and started with that file's path. Tested with TRL 1.16, transformers
/// 5.23, accelerate 1.15, PEFT 0.21 and PyTorch 2.13.
package enum TRLScript {
    package static let text = #"""
        """Trains with TRL what evalharness prepared: the same rows, in the same order, at the same learning rates.

            python train_trl.py RUN.json
            torchrun --nproc-per-node N train_trl.py RUN.json
            accelerate launch train_trl.py RUN.json       (as accelerate's configuration says: FSDP, DeepSpeed)

        RUN.json names the model, the rows and what to do with them. A step is the same however many processes take it:
        each takes its share of a micro-batch, or all of it where it does not divide by their number.
        Written for TRL 1.16.
        """
        import json
        import os
        import shutil
        import sys
        from pathlib import Path

        os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")

        import torch
        from datasets import Dataset
        from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback, set_seed
        from trl import DPOConfig, DPOTrainer, KTOConfig, KTOTrainer, SFTConfig, SFTTrainer
        from trl.experimental.cpo import CPOConfig, CPOTrainer
        from trl.experimental.orpo import ORPOConfig, ORPOTrainer


        def main(path):
            run = json.loads(Path(path).read_text())
            trainer_class, config_class, parameters = recipe(run["objective"])
            rows = [json.loads(line) for line in Path(run["rows"]).read_text().splitlines()]
            set_seed(0)
            trainer = make_trainer(run, rows, trainer_class, config_class, parameters)
            trainer.train()
            trainer.save_model(run["output"])
            if trainer.is_world_process_zero():
                store(run)
                copy_tokenizer(run["model"], run["output"])


        def recipe(objective):
            """(trainer, its configuration, its parameters), or a sentence where TRL has no such objective."""
            method = objective["method"]
            smoothing = objective.get("label_smoothing", 0.0)
            link, weight = objective.get("link", "sigmoid"), objective.get("sft_weight", 0.0)
            plain = link == "sigmoid" and smoothing == 0
            averages = objective.get("length_normalized", method in ("simpo", "ipo"))
            cpo = lambda loss, beta, **more: (
                Contrastive, CPOConfig,
                dict(loss_type=loss, beta=beta, cpo_alpha=weight, label_smoothing=smoothing, **more))
            dpo = lambda loss, beta, **more: (
                Direct, DPOConfig, dict(beta=beta, **more) | (
                    dict(loss_type=[loss, "sft"], loss_weights=[1.0, weight]) if weight else dict(loss_type=[loss])))
            match method:
                case "sft" if objective.get("reduction", "tokenMean") == "tokenMean":
                    return FineTuning, SFTConfig, dict(packing=False)
                case "simpo" if averages and link == "sigmoid":
                    return cpo("simpo", objective["beta"], simpo_gamma=objective["gamma"])
                case "cpo" if link in ("sigmoid", "hinge"):
                    return cpo(link, objective["beta"])
                case "ipo" if averages and not objective.get("uses_reference", True):
                    return cpo("ipo", objective["tau"])
                case "ipo" if averages:
                    return dpo("ipo", objective["tau"])
                case "dpo" if objective.get("margin", 0) == 0 and averages and plain:
                    return dpo("sigmoid_norm", objective["beta"])
                case "dpo" if objective.get("margin", 0) == 0 and not averages and (plain or link == "hinge"):
                    return dpo(link, objective["beta"])
                case "dpo" if objective.get("margin", 0) == 0 and not averages and link == "robust":
                    return dpo("robust", objective["beta"], label_smoothing=smoothing)
                case "orpo" if objective["likelihood_of"] == "promptAndResponse":
                    return Odds, ORPOConfig, dict(beta=objective["lambda"])
                case "kto":
                    return Unpaired, KTOConfig, dict(
                        beta=objective["beta"], desirable_weight=objective["desirable_weight"],
                        undesirable_weight=objective["undesirable_weight"], train_sampling_strategy="sequential")
            sys.exit(f"TRL has no such objective as {json.dumps(objective)}: it runs only on evalharness's own engine. "
                     "Leave out --engine trl.")


        def make_trainer(run, rows, trainer_class, config_class, parameters):
            load = lambda: AutoModelForCausalLM.from_pretrained(run["model"], dtype=torch.float32)
            model = load()
            if run["adapter"]:
                from peft import PeftModel
                model = PeftModel.from_pretrained(model, run["adapter"], is_trainable=True)
            tokenizer = AutoTokenizer.from_pretrained(run["model"])
            # What is padded is masked: any token will do.
            tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token or tokenizer.convert_ids_to_tokens(0)
            steps = run["steps"]
            config = config_class(
                output_dir=run["output"], per_device_train_batch_size=max(2, len(steps[0][0])),
                gradient_accumulation_steps=run["accumulation"], max_steps=len(steps), learning_rate=1.0,
                weight_decay=run["weight_decay"], max_grad_norm=run["max_gradient_norm"] or 0.0, optim="adamw_torch",
                adam_beta1=run["adam_beta1"], adam_beta2=run["adam_beta2"], adam_epsilon=run["adam_epsilon"],
                bf16=run["precision"] == "bf16", use_cpu=not torch.cuda.is_available(),
                gradient_checkpointing=run["recompute"], max_length=None,
                logging_steps=run["logging_steps"], logging_nan_inf_filter=False,
                save_strategy="steps" if run["save_steps"] else "no", save_steps=run["save_steps"] or 500,
                save_total_limit=run["save_total_limit"], report_to="none", disable_tqdm=True,
                dataloader_pin_memory=False, remove_unused_columns=False, seed=0, **parameters)
            # What TRL's constructors look for; the rows themselves are handed over by the loader.
            columns = dict(prompt="", chosen="", rejected="", completion="", label=True)
            dataset = Dataset.from_list([columns] * len(rows))
            reference = (
                dict(ref_model=load()) if trainer_class in (Direct, Unpaired) and not run["adapter"] else {})
            trainer = trainer_class(
                model=model, args=config, train_dataset=dataset, processing_class=tokenizer,
                data_collator=lambda examples: examples, callbacks=[MetricsFile(Path(run["output"]) / "metrics.jsonl")],
                **reference)
            trainer.rows, trainer.steps, trainer.learning_rates = rows, steps, run["learning_rates"]
            trainer.steps_per_epoch = run["steps_per_epoch"]
            return trainer


        class Prepared:
            """What all trainers here have in common: rows, order and learning rates come from outside."""

            def _prepare_dataset(self, dataset, *_, **__):
                return dataset

            def tokenize_row(self, row, model=None):
                return row

            def get_train_dataloader(self):
                return Loader(self)

            def create_scheduler(self, num_training_steps, optimizer=None):
                if self.lr_scheduler is None:
                    last = len(self.learning_rates) - 1
                    self.lr_scheduler = torch.optim.lr_scheduler.LambdaLR(
                        optimizer or self.optimizer, lambda step: self.learning_rates[min(step, last)])
                return self.lr_scheduler

            def likelihood_tokens(self, row):
                """How many tokens of a row a likelihood term is averaged over."""
                return count(row["chosen"]) if "chosen" in row else 0

            def likelihood_share(self, share, micro_batch, step):
                """What a process's token mean is multiplied by: the mean over processes is then the micro-batch's."""
                own, total = (sum(map(self.likelihood_tokens, rows)) for rows in (share, micro_batch))
                return own * (len(micro_batch) // len(share)) / total if total else 1.0


        class Loader:
            """The micro-batches of an epoch each time it is asked, as this process's tensors."""

            def __init__(self, trainer):
                self.trainer, self.epoch = trainer, 0

            def __len__(self):
                return sum(map(len, self.trainer.steps[:self.trainer.steps_per_epoch]))

            def __iter__(self):
                trainer, size = self.trainer, self.trainer.steps_per_epoch
                first, self.epoch = self.epoch * size, self.epoch + 1
                processes, rank = trainer.args.world_size, trainer.args.process_index
                for step in trainer.steps[first:first + size]:
                    step = [[trainer.rows[index] for index in micro_batch] for micro_batch in step]
                    for micro_batch in step:
                        divides = len(micro_batch) % processes == 0
                        share = micro_batch[rank::processes] if divides else micro_batch
                        batch = trainer.collate(share)
                        batch["likelihood_share"] = trainer.likelihood_share(share, micro_batch, step)
                        yield batch


        def count(row):
            return sum(end - max(start, 1) for start, end in row["targets"])


        def padded(rows, prefix=""):
            """Token ids, which of them are there and which are trained, padded to the right: (rows, longest row)."""
            width = max(len(row["ids"]) for row in rows)
            ids, mask, trained = (torch.zeros(len(rows), width, dtype=torch.long) for _ in range(3))
            for place, row in enumerate(rows):
                ids[place, :len(row["ids"])] = torch.tensor(row["ids"])
                mask[place, :len(row["ids"])] = 1
                for start, end in row["targets"]:
                    trained[place, start:end] = 1
            return {f"{prefix}input_ids": ids, f"{prefix}attention_mask": mask, f"{prefix}completion_mask": trained}


        def labelled(rows, prefix=""):
            batch = padded(rows, prefix)
            trained = batch.pop(f"{prefix}completion_mask")
            return batch | {f"{prefix}labels": batch[f"{prefix}input_ids"].masked_fill(trained == 0, -100)}


        class FineTuning(Prepared, SFTTrainer):
            # A step's tokens all weigh the same: micro-batches come with their share of it.
            loss_is_scaled_for_ga = False

            def collate(self, rows):
                return labelled([row["chosen"] for row in rows])

            def likelihood_share(self, share, micro_batch, step):
                # transformers counts all labels of a step, also those that nothing precedes.
                total = sum(end - start for part in step for row in part for start, end in row["chosen"]["targets"])
                predicted = sum(map(self.likelihood_tokens, share)) * (len(micro_batch) // len(share))
                return predicted * len(step) / total

            def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
                share = inputs.pop("likelihood_share")
                return share * super().compute_loss(model, inputs, return_outputs, None)


        class Pairs(Prepared):
            def collate(self, rows):
                return labelled([row["chosen"] for row in rows], "chosen_") | labelled(
                    [row["rejected"] for row in rows], "rejected_")

            def concatenated_forward(self, model, batch):
                outputs = list(super().concatenated_forward(model, batch))
                outputs[4] = outputs[4] * batch["likelihood_share"]
                return tuple(outputs)


        class Contrastive(Pairs, CPOTrainer):
            pass


        class Odds(Pairs, ORPOTrainer):
            def likelihood_tokens(self, row):
                return len(row["chosen"]["ids"]) - 1


        class Direct(Prepared, DPOTrainer):
            def collate(self, rows):
                return padded([row["chosen"] for row in rows] + [row["rejected"] for row in rows])

            def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
                share, weights = inputs.pop("likelihood_share"), self.loss_weights
                self.loss_weights = [weight * share if loss == "sft" else weight
                                     for loss, weight in zip(self.loss_types, weights, strict=True)]
                try:
                    return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
                finally:
                    self.loss_weights = weights


        class Unpaired(Prepared, KTOTrainer):
            def collate(self, rows):
                batch = padded([row.get("chosen") or row["rejected"] for row in rows])
                batch |= padded([row["mismatched"] for row in rows], "KL_")
                return batch | {"label": torch.tensor(["chosen" in row for row in rows])}

            def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
                del inputs["likelihood_share"]
                return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)


        class MetricsFile(TrainerCallback):
            """One JSON line a logged step."""

            def __init__(self, path):
                self.path = path

            def on_train_begin(self, args, state, control, **_):
                if state.is_world_process_zero:
                    self.path.parent.mkdir(parents=True, exist_ok=True)
                    self.path.write_text("")

            def on_log(self, args, state, control, logs=None, **_):
                if state.is_world_process_zero and "loss" in logs:
                    line = {"step": state.global_step} | {name: float(value) for name, value in logs.items()}
                    with self.path.open("a") as file:
                        file.write(json.dumps(line) + "\n")


        def store(run):
            """Merges the adapter where the run says so, and stores the weights as the type that it says."""
            output, dtype = Path(run["output"]), getattr(torch, run["save_dtype"])
            load = lambda folder: AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
            if run["adapter"] and run["merge_adapter"]:
                from peft import PeftModel
                model = PeftModel.from_pretrained(load(run["model"]), output).merge_and_unload()
                for name in ("adapter_model.safetensors", "adapter_config.json"):
                    (output / name).unlink()
            elif run["adapter"] or dtype == torch.float32:
                return
            else:
                model = load(output)
            model.to(dtype).save_pretrained(output)


        def copy_tokenizer(model, output):
            """The model's own files in place of those that a trainer writes."""
            for name in ("tokenizer.json", "tokenizer_config.json", "tokenizer.model", "special_tokens_map.json",
                         "added_tokens.json", "vocab.json", "merges.txt", "chat_template.jinja"):
                if (Path(model) / name).is_file():
                    shutil.copyfile(Path(model) / name, Path(output) / name)


        if __name__ == "__main__":
            main(sys.argv[1])

        """#
}
