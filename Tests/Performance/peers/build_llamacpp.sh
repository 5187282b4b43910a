#!/bin/bash
# builds llama.cpp's tools from the tree vendored in llama-cpp-python's sdist (llama/src), native ISA
# fetched with: pip download --no-binary :all: --no-deps llama-cpp-python==0.3.36; its vendor/llama.cpp is $PEERS/llama/src
cd "${PEERS:?}/llama" || exit 1
nice -n 10 cmake -S src/ -B build -DCMAKE_BUILD_TYPE=Release -DGGML_NATIVE=ON -DLLAMA_CURL=OFF -DLLAMA_OPENSSL=OFF -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_EXAMPLES=ON -DLLAMA_BUILD_UI=OFF -DLLAMA_BUILD_WEBUI=OFF -DGGML_CCACHE=OFF > cmake.log 2>&1 || exit 1
nice -n 10 cmake --build build -j1 --target llama-bench llama-batched-bench llama-quantize llama-simple llama-completion > build.log 2>&1
echo rc=$?
