#if defined(__aarch64__)
#define VARIANT(name) name##_neon
#define TILE_ROWS 6
#define TILE_PANELS(m) ((m) == 1 ? 4 : (m) == 2 ? 2 : 1)
#define SLICE_PAIRS 128
#define SLICE_PANELS 1
#define EXPANDS_BF16(rows) ((rows) >= 48)
#define EXPANDS_INT8(rows) ((rows) >= 6)
#include "lanes.h"

#define QUAD_BYTES 8
#define WEIGHT_OFFSET 0

// Bytes 0 and 2 of each column's four, or 1 and 3, as 16-bit integers.
INLINE i16x32 unpack_quads(i16x32 words, int pass) { return pass == 0 ? (words << 8) >> 8 : words >> 8; }

INLINE i32x16 dot_quads(i32x16 sum, i16x32 weights, int32_t activations) {
    const i32x16 pairs = (i32x16)weights;
    return sum + (pairs << 16 >> 16) * (int32_t)(int16_t)activations + (pairs >> 16) * (activations >> 16);
}

#include "vector_kernels.h"

const struct kernels kernels_neon = VECTOR_KERNELS(
    "neon", .matmul_bf16 = matmul_bf16_neon, .prepare_int8 = prepare_int8_neon,
    .prepared_int8_bytes = prepared_int8_bytes_neon, .matmul_w8a8 = matmul_w8a8_neon);
#endif
