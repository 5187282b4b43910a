// Products by AVX512_BF16's dot product: sixteen columns times a pair of inner indices an instruction, twice the work of a
// fused multiply-add where the CPU has whole units for it (AMD from Zen 4 on). A packed panel's pair is a register already.
// Everything else is the AVX-512 variant's (kernels_avx512.c has the table).
//
// Activations are rounded to bf16. A sum goes over the inner index a pair at a time, the odd one first, whatever the number
// of rows, so a row's result does not depend on the rows beside it. The instruction takes denormals for zeros.
#if defined(__x86_64__)
#include <immintrin.h>

#pragma clang attribute push( \
    __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512bf16,fma,f16c"))), apply_to = function)
#include "kernels.h"
#include "lanes.h"

#define UNROLL _Pragma("clang loop unroll(full)")
#define ROWS 6
#define PANELS 4
#define SLICE_PAIRS 144

// A row in bf16; an odd number of cache lines, so that rows do not fall on the same ones.
long prepared_bf16_bytes_avx512bf16(long inner) { return 64 * ((inner + 31) / 32 | 1); }

void prepare_bf16_avx512bf16(const float *x, void *prepared, long inner) {
    char *out = prepared;
    for (long k = 0; k < inner; k += 16) {
        const __m256bh halves = _mm512_cvtneps_pbh((__m512)load_part(x + k, inner - k, 0));
        memcpy(out + 2 * k, &halves, sizeof halves);
    }
}

// acc (m, 16 * j) += a (m, 2 * pairs) * w; a nearer cache fetches `step` bytes of each panel at `next` for every pair.
INLINE void tile(
    const int m, const int j, const char *a, long a_stride, const char *w, long panel_stride, long pairs,
    float *acc_memory, long acc_stride, bool resume, const char *next, long step)
{
    __m512 acc[ROWS][PANELS];
    UNROLL for (int r = 0; r < m; r++)
        UNROLL for (int p = 0; p < j; p++)
            acc[r][p] = resume ? _mm512_loadu_ps(acc_memory + r * acc_stride + 16 * p) : _mm512_setzero_ps();
    for (long k = 0; k < pairs; k++) {
        __m512i weights[PANELS];
        UNROLL for (int p = 0; p < j; p++) {
            weights[p] = _mm512_loadu_si512(w + p * panel_stride + 64 * k);
            if (step > 0) __builtin_prefetch(next + p * panel_stride + k * step, 0, 2);
        }
        UNROLL for (int r = 0; r < m; r++) {
            int32_t pair;
            memcpy(&pair, a + r * a_stride + 4 * k, sizeof pair);
            __m512i both = _mm512_set1_epi32(pair);
            // In a register once, and not read again for every panel.
            __asm__("" : "+v"(both));
            UNROLL for (int p = 0; p < j; p++)
                acc[r][p] = _mm512_dpbf16_ps(acc[r][p], (__m512bh)weights[p], (__m512bh)both);
        }
    }
    UNROLL for (int r = 0; r < m; r++)
        UNROLL for (int p = 0; p < j; p++) _mm512_storeu_ps(acc_memory + r * acc_stride + 16 * p, acc[r][p]);
}

#define TILE_CASE(M)                                                                                                   \
    case M:                                                                                                            \
        if (j == PANELS) tile(M, PANELS, x, a_stride, b, panel_stride, pairs, c, acc_stride, resume, ahead, step);     \
        else tile(M, 1, x, a_stride, b, panel_stride, pairs, c, acc_stride, resume, ahead, step);                      \
        break;

static __attribute__((noinline)) void tiles(
    long rows, long panels, const char *a, long a_stride, const char *w, long panel_stride, long pairs, float *acc,
    long acc_stride, bool resume, const char *next)
{
    const long count = (rows + ROWS - 1) / ROWS;
    for (long p = 0, j; p < panels; p += j) {
        j = panels - p < PANELS ? 1 : PANELS;
        const char *b = w + p * panel_stride;
        for (long i = 0; i < count; i++) {
            const long r = rows * i / count, m = rows * (i + 1) / count - r;
            const char *x = a + r * a_stride, *ahead = next + p * panel_stride;
            const long step = i == 0 ? 64 : 0;
            float *c = acc + r * acc_stride + 16 * p;
            switch (m) {
                TILE_CASE(1)
                TILE_CASE(2)
                TILE_CASE(3)
                TILE_CASE(4)
                TILE_CASE(5)
                TILE_CASE(6)
            }
        }
    }
}

// A slice of the inner index at a time, whose weights stay in the nearest cache.
void matmul_bf16_avx512bf16(const struct matmul *x) {
    float block[KERNELS_MATMUL_ROWS * KERNELS_MATMUL_PANELS * 16] __attribute__((aligned(64)));
    const long columns = 16 * x->panels, all = x->inner / 2;
    for (long k = 0; k < all; k += SLICE_PAIRS) {
        const long pairs = all - k < SLICE_PAIRS ? all - k : SLICE_PAIRS;
        for (long p = 0, count; p < x->panels; p += count) {
            count = x->panels - p < PANELS ? x->panels - p : PANELS;
            const char *w = (const char *)x->w + p * x->panel_stride + 64 * k;
            const bool is_last = p + count >= x->panels && k + SLICE_PAIRS < all;
            const char *next = is_last ? (const char *)x->w + 64 * (k + SLICE_PAIRS) : w + count * x->panel_stride;
            tiles(
                x->rows, count, (const char *)x->a + 4 * k, x->a_stride, w, x->panel_stride, pairs, block + 16 * p,
                columns, k > 0, next);
        }
    }
    for (long r = 0; r < x->rows; r++)
        for (long c = 0; c < columns; c += 16) {
            f32x16 sum = load16(block + r * columns + c);
            if (x->bias) sum += load16(x->bias + c);
            float *out = x->c + r * x->c_stride + c;
            store16(out, x->add ? load16(out) + sum : sum);
        }
}
#pragma clang attribute pop
#endif
