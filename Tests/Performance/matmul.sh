#!/usr/bin/env bash
# Matrix products of Sources/CKernels beside oneDNN's (Debian's libdnnl-dev, where it is installed), as a table.
#
#     matmul.sh
#
#   THREADS     default: all cores
#   ROUNDS      interleaved rounds of each, default 5
#   MAX_GFLOP   products of more work are left out, default 600
#   COLD_MB     what the copies of a weight matrix take, default 640: more than any cache
#   SHAPES      INNERxCOLUMNS ..., default those of the models that we run
#   ROWS        default 1 ... 2048
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
sources=$here/../../Sources/CKernels
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

peer=()
if [ -e /usr/include/oneapi/dnnl/dnnl.h ]; then
    peer=(-DHAS_ONEDNN -ldnnl)
else
    echo "libdnnl-dev is not installed: ours alone" >&2
fi
# The kernels need clang: variants are chosen by its attribute pragma.
"${CC:-clang}" -std=gnu17 -O2 -I"$sources/include" "$here/matmul.c" "$sources"/*.c "${peer[@]}" -lm -lpthread -o "$work/matmul"

threads=${THREADS:-$(nproc)}
read -ra shapes <<<"${SHAPES:-576x1536 2048x2048 2048x8192 4096x4096 4096x14336 4096x128256}"
read -ra rows <<<"${ROWS:-1 2 4 8 16 32 64 128 512 2048}"
export OMP_NUM_THREADS=$threads OMP_WAIT_POLICY=passive
"$work/matmul" "$threads" "${ROUNDS:-5}" "${MAX_GFLOP:-600}" "${COLD_MB:-640}" "${shapes[@]}" -- "${rows[@]}"
