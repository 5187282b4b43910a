#!/usr/bin/env python3
"""Exports ckpt/SHAPE for OpenVINO: export_ov.py SHAPE [bf16 f32 f16 int8]   -> ov/SHAPE-WEIGHTS"""
import os, shutil, sys
os.environ["HF_HUB_OFFLINE"] = "1"
import openvino, openvino_tokenizers, torch
from optimum.intel import OVModelForCausalLM, OVWeightQuantizationConfig
from transformers import AutoModelForCausalLM, AutoTokenizer
H = os.environ["PEERS"]; shape = sys.argv[1]; src = f"{H}/ckpt/{shape}"
torch.set_num_threads(1)
for w in sys.argv[2:] or ["bf16", "f32", "f16", "int8"]:
    d = f"{H}/ov/{shape}-{w}"
    if os.path.exists(d + "/openvino_detokenizer.xml"): continue
    q = OVWeightQuantizationConfig(bits=8, group_size=-1, sym=False) if w == "int8" else None
    model = src
    if w == "f32":  # optimum follows the checkpoint's own type
        model = f"{H}/ov/{shape}-f32-hf"; AutoModelForCausalLM.from_pretrained(src, dtype=torch.float32).save_pretrained(model); AutoTokenizer.from_pretrained(src).save_pretrained(model)
    m = OVModelForCausalLM.from_pretrained(model, export=True, compile=False, load_in_8bit=False, quantization_config=q); m.save_pretrained(d)
    if model != src: shutil.rmtree(model)
    if w == "f16": os.remove(d + "/openvino_model.xml"); os.remove(d + "/openvino_model.bin"); openvino.save_model(m.model, d + "/openvino_model.xml", compress_to_fp16=True)
    del m
    t, dt = openvino_tokenizers.convert_tokenizer(AutoTokenizer.from_pretrained(src), with_detokenizer=True)
    openvino.save_model(t, d + "/openvino_tokenizer.xml"); openvino.save_model(dt, d + "/openvino_detokenizer.xml")
    print(w, os.path.getsize(d + "/openvino_model.bin"), flush=True)
