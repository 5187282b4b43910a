#if defined(__x86_64__)
#include <immintrin.h>

#pragma clang attribute push(__attribute__((target("avx2,fma,f16c"))), apply_to = function)
#include "lanes.h"
#define VARIANT(name) name##_avx2
#define TILE_ROWS 6
#define TILE_PANELS(m) ((m) == 1 ? 4 : (m) == 2 ? 2 : 1)
#define SLICE_PAIRS 128
#define SLICE_PANELS 1
#define EXPANDS_BF16(rows) ((rows) >= 48)
#define EXPANDS_INT8(rows) ((rows) >= 6)

#define QUAD_BYTES 8
#define WEIGHT_OFFSET 0

// Bytes 0 and 2 of each column's four, or 1 and 3, as 16-bit integers.
INLINE i16x32 unpack_quads(i16x32 words, int pass) { return pass == 0 ? (words << 8) >> 8 : words >> 8; }

INLINE i32x16 dot_quads(i32x16 sum, i16x32 weights, int32_t activations) {
    const __m256i both = _mm256_set1_epi32(activations);
    __m256i weight[2], total[2];
    memcpy(weight, &weights, sizeof weight);
    memcpy(total, &sum, sizeof total);
    for (int half = 0; half < 2; half++) {
        total[half] = _mm256_add_epi32(total[half], _mm256_madd_epi16(weight[half], both));
        // One chain of additions: regrouped by the compiler, they no longer fit the registers.
        __asm__("" : "+x"(total[half]));
    }
    memcpy(&sum, total, sizeof sum);
    return sum;
}

#include "vector_kernels.h"

const struct kernels kernels_avx2 = VECTOR_KERNELS(
    "avx2", .matmul_bf16 = matmul_bf16_avx2, .prepare_int8 = prepare_int8_avx2,
    .prepared_int8_bytes = prepared_int8_bytes_avx2, .matmul_w8a8 = matmul_w8a8_avx2);
#pragma clang attribute pop
#endif
