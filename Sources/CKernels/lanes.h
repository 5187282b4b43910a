// Sixteen floats at a time in clang's vector types: one AVX-512 register, two of AVX2, four of SSE or NEON.
#pragma once
#include <stdint.h>
#include <string.h>

// Vectors pass only between functions that are inlined into one another.
#pragma clang diagnostic ignored "-Wpsabi"

typedef float f32x16 __attribute__((vector_size(64)));
typedef int32_t i32x16 __attribute__((vector_size(64)));
typedef uint32_t u32x16 __attribute__((vector_size(64)));
typedef int16_t i16x16 __attribute__((vector_size(32)));
typedef int16_t i16x32 __attribute__((vector_size(64)));
typedef uint16_t u16x16 __attribute__((vector_size(32)));
typedef int8_t i8x16 __attribute__((vector_size(16)));

#define INLINE static inline __attribute__((always_inline))

INLINE f32x16 load16(const float *p) {
    f32x16 x;
    memcpy(&x, p, sizeof x);
    return x;
}

INLINE void store16(float *p, f32x16 x) { memcpy(p, &x, sizeof x); }

INLINE f32x16 splat(float x) { return (f32x16){x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x}; }

INLINE f32x16 fma16(f32x16 a, f32x16 b, f32x16 c) { return __builtin_elementwise_fma(a, b, c); }

INLINE f32x16 select16(i32x16 mask, f32x16 yes, f32x16 no) {
    return (f32x16)(((i32x16)yes & mask) | ((i32x16)no & ~mask));
}

INLINE i32x16 select16_int(i32x16 mask, i32x16 yes, i32x16 no) { return (yes & mask) | (no & ~mask); }

INLINE f32x16 max16(f32x16 a, f32x16 b) { return select16(a > b, a, b); }

// The first `count` lanes of p, the others `fill`.
INLINE f32x16 load_part(const float *p, long count, float fill) {
    if (count >= 16) return load16(p);
    float x[16];
    for (int i = 0; i < 16; i++) x[i] = i < count ? p[i] : fill;
    return load16(x);
}

INLINE void store_part(float *p, f32x16 x, long count) {
    if (count >= 16) {
        store16(p, x);
        return;
    }
    float lanes[16];
    store16(lanes, x);
    for (int i = 0; i < count; i++) p[i] = lanes[i];
}

// Halves are added to halves: one order of summation for every width.
INLINE float sum_lanes(f32x16 x) {
    float s[16];
    store16(s, x);
    for (int width = 8; width > 0; width /= 2)
        for (int i = 0; i < width; i++) s[i] += s[i + width];
    return s[0];
}

INLINE float max_lanes(f32x16 x) {
    float s[16];
    store16(s, x);
    for (int width = 8; width > 0; width /= 2)
        for (int i = 0; i < width; i++) s[i] = s[i] > s[i + width] ? s[i] : s[i + width];
    return s[0];
}

// exp(x): x = n ln 2 + r, a polynomial of degree 6 in r (error below 2 units in the last place), 0 below -87.3; exp(0) is 1.
INLINE f32x16 exp16(f32x16 x) {
    const i32x16 underflow = x < splat(-87.3f);
    x = select16(x > splat(88.7f), splat(88.7f), x);
    x = select16(underflow, splat(-87.3f), x);
    const f32x16 shifted = fma16(x, splat(1.44269504f), splat(12582912.0f));
    const f32x16 n = shifted - splat(12582912.0f);
    f32x16 r = fma16(n, splat(-0.693359375f), x);
    r = fma16(n, splat(2.12194440e-4f), r);
    f32x16 p = splat(1.9875691500e-4f);
    p = fma16(p, r, splat(1.3981999507e-3f));
    p = fma16(p, r, splat(8.3334519073e-3f));
    p = fma16(p, r, splat(4.1665795894e-2f));
    p = fma16(p, r, splat(1.6666665459e-1f));
    p = fma16(p, r, splat(5.0000001201e-1f));
    p = fma16(p * r, r, r + splat(1.0f));
    // 2^n in two factors, so that n = 128 does not overflow on the way.
    const i32x16 whole = ((i32x16)shifted & 0x7fffff) - 0x400000;
    const i32x16 half = whole >> 1;
    const f32x16 scaled = p * (f32x16)((half + 127) << 23) * (f32x16)((whole - half + 127) << 23);
    return select16(underflow, splat(0.0f), scaled);
}

// tanh(x) = 1 - 2 / (exp(2x) + 1), odd, and x itself where that cancels.
INLINE f32x16 tanh16(f32x16 x) {
    const f32x16 magnitude = (f32x16)((i32x16)x & 0x7fffffff);
    const f32x16 large = splat(1.0f) - splat(2.0f) / (exp16(magnitude + magnitude) + splat(1.0f));
    const f32x16 square = x * x;
    // Below 0.35: the Taylor series to x^11.
    f32x16 series = splat(-0.00886323553f);
    series = fma16(series, square, splat(0.0218694885f));
    series = fma16(series, square, splat(-0.0539682540f));
    series = fma16(series, square, splat(0.133333333f));
    series = fma16(series, square, splat(-0.333333333f));
    series = fma16(series * square, magnitude, magnitude);
    const f32x16 result = select16(magnitude < splat(0.35f), series, large);
    return (f32x16)((i32x16)result | ((i32x16)x & (int32_t)0x80000000));
}

// The bits of floats rounded to bf16, to the nearest, ties to even; not-a-number stays one.
INLINE u32x16 narrow16(f32x16 x) {
    const u32x16 bits = (u32x16)x;
    const u32x16 is_nan = (u32x16)((i32x16)(bits & 0x7fffffff) > 0x7f800000);
    const u32x16 rounded = bits + 0x7fff + (bits >> 16 & 1);
    return ((is_nan & (bits | 0x400000)) | (rounded & ~is_nan)) & 0xffff0000u;
}

// Rounds to the nearest, ties to even; not-a-number stays one.
INLINE uint16_t narrow_bf16(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    if ((bits & 0x7fffffff) > 0x7f800000) return (uint16_t)(bits >> 16 | 0x40);
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

typedef uint32_t u32x4 __attribute__((vector_size(16)));

INLINE void transpose4(u32x4 *x) {
    const u32x4 a = __builtin_shufflevector(x[0], x[1], 0, 4, 1, 5), b = __builtin_shufflevector(x[0], x[1], 2, 6, 3, 7);
    const u32x4 c = __builtin_shufflevector(x[2], x[3], 0, 4, 1, 5), d = __builtin_shufflevector(x[2], x[3], 2, 6, 3, 7);
    x[0] = __builtin_shufflevector(a, c, 0, 1, 4, 5);
    x[1] = __builtin_shufflevector(a, c, 2, 3, 6, 7);
    x[2] = __builtin_shufflevector(b, d, 0, 1, 4, 5);
    x[3] = __builtin_shufflevector(b, d, 2, 3, 6, 7);
}

// y (columns, y_stride) = x (rows, x_stride) transposed.
INLINE void transpose_block(const float *x, long x_stride, long rows, long columns, float *y, long y_stride) {
    long r = 0;
    for (; r + 4 <= rows; r += 4) {
        long c = 0;
        for (; c + 4 <= columns; c += 4) {
            u32x4 block[4];
            for (int i = 0; i < 4; i++) memcpy(&block[i], x + (r + i) * x_stride + c, sizeof block[i]);
            transpose4(block);
            for (int i = 0; i < 4; i++) memcpy(y + (c + i) * y_stride + r, &block[i], sizeof block[i]);
        }
        for (; c < columns; c++)
            for (int i = 0; i < 4; i++) y[c * y_stride + r + i] = x[(r + i) * x_stride + c];
    }
    for (; r < rows; r++)
        for (long c = 0; c < columns; c++) y[c * y_stride + r] = x[r * x_stride + c];
}

// Two rows of floats as pairs of bf16: the first row's in the lower halves.
INLINE u32x16 narrow_pairs(f32x16 first, f32x16 second) { return narrow16(first) >> 16 | narrow16(second); }

#define TRANSPOSE_STEP(BIT, LOWER, UPPER)                                                                              \
    for (int i = 0; i < 16; i++)                                                                                       \
        if (!(i & BIT)) {                                                                                              \
            const u32x16 a = x[i], b = x[i + BIT];                                                                     \
            x[i] = __builtin_shufflevector(a, b, LOWER);                                                               \
            x[i + BIT] = __builtin_shufflevector(a, b, UPPER);                                                         \
        }
#define LANES(...) __VA_ARGS__

// Sixteen rows of sixteen words: squares of 8, 4, 2 and 1 change places.
INLINE void transpose16(u32x16 *x) {
    TRANSPOSE_STEP(
        8, LANES(0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23),
        LANES(8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31))
    TRANSPOSE_STEP(
        4, LANES(0, 1, 2, 3, 16, 17, 18, 19, 8, 9, 10, 11, 24, 25, 26, 27),
        LANES(4, 5, 6, 7, 20, 21, 22, 23, 12, 13, 14, 15, 28, 29, 30, 31))
    TRANSPOSE_STEP(
        2, LANES(0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29),
        LANES(2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31))
    TRANSPOSE_STEP(
        1, LANES(0, 16, 2, 18, 4, 20, 6, 22, 8, 24, 10, 26, 12, 28, 14, 30),
        LANES(1, 17, 3, 19, 5, 21, 7, 23, 9, 25, 11, 27, 13, 29, 15, 31))
}

// y (columns, y_stride) = x (rows, x_stride) transposed and rounded to bf16, zero from `rows` to the stride, an even one.
INLINE void turn_pairs(const float *x, long x_stride, long rows, long columns, uint16_t *y, long y_stride) {
    for (long r = 0; r < y_stride; r += 32)
        for (long c = 0; c < columns; c += 16) {
            const long part = columns - c < 16 ? columns - c : 16, left = y_stride - r < 32 ? y_stride - r : 32;
            u32x16 words[16];
            const float *from = x + r * x_stride + c;
            if (part == 16 && r + 32 <= rows) {
                _Pragma("clang loop unroll(full)") for (int i = 0; i < 16; i++)
                    words[i] = narrow_pairs(load16(from + 2 * i * x_stride), load16(from + (2 * i + 1) * x_stride));
            } else {
                for (long i = 0; i < 32; i += 2, from += 2 * x_stride)
                    words[i / 2] = narrow_pairs(
                        r + i < rows ? load_part(from, part, 0) : splat(0),
                        r + i + 1 < rows ? load_part(from + x_stride, part, 0) : splat(0));
            }
            transpose16(words);
            for (long i = 0; i < part; i++) memcpy(y + (c + i) * y_stride + r, &words[i], (size_t)(2 * left));
        }
}

// MARK: Quantisation to -127...127

struct quantum {
    float scale, inverse;
};

// From the greatest bits of a magnitude among the values. Below 1e-30 the inverse would leave the range of floats.
INLINE struct quantum quantum_of(uint32_t greatest_bits) {
    float greatest;
    memcpy(&greatest, &greatest_bits, sizeof greatest);
    if (greatest_bits >= 0x7f800000) return (struct quantum){__builtin_nanf(""), 0};
    if (greatest < 1e-30f) return (struct quantum){0, 0};
    return (struct quantum){greatest / 127, 127 / greatest};
}

// Magnitudes order as their bits do; infinities and then not-a-numbers are the greatest.
INLINE u32x16 greater_magnitude(u32x16 greatest, f32x16 x) {
    const u32x16 bits = (u32x16)x & 0x7fffffff;
    const u32x16 is_greater = (u32x16)((i32x16)bits > (i32x16)greatest);
    return (bits & is_greater) | (greatest & ~is_greater);
}

INLINE uint32_t greatest_lane(u32x16 x) {
    uint32_t greatest = 0;
    for (int i = 0; i < 16; i++) greatest = x[i] > greatest ? x[i] : greatest;
    return greatest;
}

// Rounds by adding 1.5 * 2^23, whose last bit counts ones; an inverse of 0 makes everything 0.
INLINE i32x16 quantise16(f32x16 x, f32x16 inverse) {
    // Two statements: a fused multiply-add would round once, and not as plain C does.
    const f32x16 product = x * inverse;
    const f32x16 shifted = product + splat(12582912.0f);
    return select16_int(inverse == splat(0), (i32x16){0}, (i32x16)shifted - 0x4b400000);
}
