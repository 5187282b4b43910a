#if defined(__x86_64__)
#include <immintrin.h>

#pragma clang attribute push( \
    __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,fma,f16c"))), apply_to = function)
#include "lanes.h"
#define VARIANT(name) name##_avx512
#define TILE_ROWS 6
#define TILE_PANELS(m) ((m) <= 2 ? 8 : 4)
#define HOLDS_PANELS(j) ((j) == 4)
#define SLICE_PAIRS 64
#define SLICE_PANELS 4
#define EXPANDS_BF16(rows) ((rows) >= 12)
#define EXPANDS_INT8(rows) ((rows) >= 12)

// The compiler would overwrite an operand here and there, and then spill sums.
INLINE f32x16 accumulate(f32x16 sum, f32x16 x, f32x16 weights) {
    __asm__("vfmadd231ps %2, %1, %0" : "+v"(sum) : "v"(x), "v"(weights));
    return sum;
}

#define QUAD_BYTES 4
#define WEIGHT_OFFSET 128

// The instruction multiplies unsigned bytes by signed ones, so the weights are made 1...255.
INLINE i16x32 unpack_quads(i16x32 words, int pass) {
    (void)pass;
    return words ^ (int16_t)0x8080;
}

INLINE i32x16 dot_quads(i32x16 sum, i16x32 weights, int32_t activations) {
    return (i32x16)_mm512_dpbusd_epi32((__m512i)sum, (__m512i)weights, _mm512_set1_epi32(activations));
}

#include "vector_kernels.h"

const struct kernels kernels_avx512 = VECTOR_KERNELS(
    "avx512", .matmul_bf16 = matmul_bf16_avx512, .prepare_int8 = prepare_int8_avx512,
    .prepared_int8_bytes = prepared_int8_bytes_avx512, .matmul_w8a8 = matmul_w8a8_avx512);

// Products by dot products of bf16, from kernels_avx512bf16.c.
void matmul_bf16_avx512bf16(const struct matmul *);
void prepare_bf16_avx512bf16(const float *x, void *prepared, long inner);
long prepared_bf16_bytes_avx512bf16(long inner);
void attend_head_avx512bf16(const struct head_attention *);
void attend_head_backward_avx512bf16(const struct head_attention *);

const struct kernels kernels_avx512bf16 = VECTOR_KERNELS(
    "avx512bf16", .matmul_bf16 = matmul_bf16_avx512bf16, .prepare_bf16 = prepare_bf16_avx512bf16,
    .prepared_bf16_bytes = prepared_bf16_bytes_avx512bf16, .prepare_int8 = prepare_int8_avx512,
    .prepared_int8_bytes = prepared_int8_bytes_avx512, .matmul_w8a8 = matmul_w8a8_avx512,
    .attend_head_bf16 = attend_head_avx512bf16, .attend_head_backward_bf16 = attend_head_backward_avx512bf16);

// Products by tiles, from kernels_amx.c, whose int8 rows are the same.
void matmul_bf16_amx(const struct matmul *);
void matmul_w8a8_amx(const struct matmul *);
void prepare_bf16_amx(const float *x, void *prepared, long inner);
long prepared_bf16_bytes_amx(long inner);

const struct kernels kernels_amx = VECTOR_KERNELS(
    "amx", .matmul_bf16 = matmul_bf16_amx, .prepare_bf16 = prepare_bf16_amx,
    .prepared_bf16_bytes = prepared_bf16_bytes_amx, .prepare_int8 = prepare_int8_avx512,
    .prepared_int8_bytes = prepared_int8_bytes_avx512, .matmul_w8a8 = matmul_w8a8_amx);
#pragma clang attribute pop
#endif
