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

// Where the sums of some panels are between slices of the inner index, and where they go behind the last one.
struct sums {
    float *partial;         // rows of `stride` floats
    long stride;
    bool resumes, is_last;
    const float *bias;      // or null
    float *c;
    long c_stride;
    bool adds;
};

// The sums of m rows and j panels, over some pairs of the inner index: a (m, 2 * pairs) * w. Where there is `next`, a nearer
// cache fetches that much of each panel from there.
INLINE void tile(
    const int m, const int j, const char *a, long a_stride, const char *w, long panel_stride, long pairs,
    const struct sums *s, const char *next)
{
    __m512 sum[ROWS][PANELS];
    UNROLL for (int r = 0; r < m; r++)
        UNROLL for (int p = 0; p < j; p++)
            sum[r][p] = s->resumes ? _mm512_loadu_ps(s->partial + r * s->stride + 16 * p) : _mm512_setzero_ps();
    for (long k = 0; k < pairs; k++) {
        __m512i weights[PANELS];
        UNROLL for (int p = 0; p < j; p++) {
            weights[p] = _mm512_loadu_si512(w + p * panel_stride + 64 * k);
            if (next) __builtin_prefetch(next + p * panel_stride + 64 * k, 0, 2);
        }
        UNROLL for (int r = 0; r < m; r++) {
            int32_t pair;
            memcpy(&pair, a + r * a_stride + 4 * k, sizeof pair);
            __m512i both = _mm512_set1_epi32(pair);
            // In a register once, and not read again for every panel.
            __asm__("" : "+v"(both));
            UNROLL for (int p = 0; p < j; p++)
                sum[r][p] = _mm512_dpbf16_ps(sum[r][p], (__m512bh)weights[p], (__m512bh)both);
        }
    }
    if (!s->is_last) {
        UNROLL for (int r = 0; r < m; r++)
            UNROLL for (int p = 0; p < j; p++) _mm512_storeu_ps(s->partial + r * s->stride + 16 * p, sum[r][p]);
        return;
    }
    UNROLL for (int r = 0; r < m; r++)
        UNROLL for (int p = 0; p < j; p++) {
            float *c = s->c + r * s->c_stride + 16 * p;
            if (s->bias) sum[r][p] = _mm512_add_ps(sum[r][p], _mm512_loadu_ps(s->bias + 16 * p));
            if (s->adds) sum[r][p] = _mm512_add_ps(_mm512_loadu_ps(c), sum[r][p]);
            _mm512_storeu_ps(c, sum[r][p]);
        }
}

#define TILE_CASE(M)                                                                                                   \
    case M:                                                                                                            \
        if (panels == PANELS) tile(M, PANELS, x, a_stride, w, panel_stride, pairs, &s, ahead);                         \
        else if (panels == 2) tile(M, 2, x, a_stride, w, panel_stride, pairs, &s, ahead);                              \
        else tile(M, 1, x, a_stride, w, panel_stride, pairs, &s, ahead);                                               \
        break;

// How many panels of those left a tile covers.
INLINE long panels_of_tile(long left) { return left >= PANELS ? PANELS : left >= 2 ? 2 : 1; }

// The same for any number of rows, split evenly over tiles, and PANELS panels, two or one.
static __attribute__((noinline)) void tiles(
    long rows, long panels, const char *a, long a_stride, const char *w, long panel_stride, long pairs, struct sums s,
    const char *next)
{
    const long count = (rows + ROWS - 1) / ROWS;
    for (long i = 0; i < count; i++) {
        const long r = rows * i / count, m = rows * (i + 1) / count - r;
        const char *x = a + r * a_stride, *ahead = i == 0 ? next : 0;
        switch (m) {
            TILE_CASE(1)
            TILE_CASE(2)
            TILE_CASE(3)
            TILE_CASE(4)
            TILE_CASE(5)
            TILE_CASE(6)
        }
        s.partial += m * s.stride;
        s.c += m * s.c_stride;
    }
}

// A slice of the inner index at a time, whose weights stay in the nearest cache.
void matmul_bf16_avx512bf16(const struct matmul *x) {
    float block[KERNELS_MATMUL_ROWS * KERNELS_MATMUL_PANELS * 16] __attribute__((aligned(64)));
    const long all = x->inner / 2;
    for (long k = 0; k < all; k += SLICE_PAIRS) {
        const long pairs = all - k < SLICE_PAIRS ? all - k : SLICE_PAIRS;
        for (long p = 0, count; p < x->panels; p += count) {
            count = panels_of_tile(x->panels - p);
            const char *w = (const char *)x->w + p * x->panel_stride + 64 * k;
            const bool turns = p + count >= x->panels && k + SLICE_PAIRS < all;
            const char *next = turns ? (const char *)x->w + 64 * (k + SLICE_PAIRS) : w + count * x->panel_stride;
            const struct sums sums = {
                .partial = block + 16 * p, .stride = 16 * x->panels, .resumes = k > 0, .is_last = k + pairs == all,
                .bias = x->bias ? x->bias + 16 * p : 0, .c = x->c + 16 * p, .c_stride = x->c_stride, .adds = x->add};
            tiles(x->rows, count, (const char *)x->a + 4 * k, x->a_stride, w, x->panel_stride, pairs, sums, next);
        }
    }
}

// MARK: Attention of one head, in bf16

#define HEAD(name) name##_bf16
typedef uint16_t operand;

INLINE void store_operands(operand *to, f32x16 values) {
    const __m256bh halves = _mm512_cvtneps_pbh((__m512)values);
    memcpy(to, &halves, sizeof halves);
}

INLINE void store_pair(operand *panel, long pair, f32x16 even, f32x16 odd) {
    const u32x16 both = narrow_pairs(even, odd);
    memcpy(panel + 32 * pair, &both, sizeof both);
}

INLINE void turn(const float *x, long x_stride, long rows, long columns, operand *y) {
    turn_pairs(x, x_stride, rows, columns, y, KERNELS_HEAD_QUERIES);
}

INLINE void multiply_operands(
    long rows, long panels, const operand *a, long a_stride, const operand *w, long panel_stride, long pairs,
    float *sums, long stride, bool adds)
{
    for (long p = 0, count; p < panels; p += count) {
        count = panels_of_tile(panels - p);
        const struct sums s = {.partial = sums + 16 * p, .stride = stride, .resumes = adds};
        tiles(rows, count, (const char *)a, 2 * a_stride, (const char *)(w + p * panel_stride), 2 * panel_stride, pairs,
              s, 0);
    }
}

#include "attention_kernels.h"

void attend_head_avx512bf16(const struct head_attention *x) { HEAD(attend_head)(x); }
void attend_head_backward_avx512bf16(const struct head_attention *x) { HEAD(attend_head_backward)(x); }
#pragma clang attribute pop
#endif
