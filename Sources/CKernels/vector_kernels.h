// The vector kernels, written once; each variant's file includes this with
//   VARIANT(name)   the name with the variant's suffix
//   TILE_ROWS       the most rows of an accumulator tile
//   TILE_PANELS(m)  how many panels it covers at m rows, so that the accumulators fit the registers
//   HOLDS_PANELS(j) whether the weights of j panels stay in registers while rows go by, and accumulate(sum, x, weights), a
//                   fused multiply-add into the sum's own register; left out where they never do
//   SLICE_PAIRS     half the inner indices, and
//   SLICE_PANELS    the panels, of a slice that the nearest cache holds as floats
//   EXPANDS_BF16(rows), EXPANDS_INT8(rows)   whether it pays at so many rows to make floats of a slice first
// and what w8a8_kernels.h asks for, inside a pragma that gives its functions their target.
#include "kernels.h"
#include "lanes.h"

#define UNROLL _Pragma("clang loop unroll(full)")
// The pointer as one that the compiler does not know, so that it reads again rather than keep what it read in registers
// that the accumulators need.
INLINE const char *again(const char *p) {
    __asm__ volatile("" : "+r"(p));
    return p;
}

#if !defined(HOLDS_PANELS)
#define HOLDS_PANELS(j) 0
#define accumulate(sum, x, weights) fma16(x, weights, sum)
#endif

#define PREFETCH(address) __builtin_prefetch(address, 0, 2)

typedef struct {
    f32x16 even, odd;
} pair_t;

// Two consecutive inner indices of a panel, as floats.
INLINE pair_t pair_f32(const void *w, long pair) {
    const float *p = (const float *)w + pair * 32;
    return (pair_t){load16(p), load16(p + 16)};
}

INLINE pair_t pair_bf16(const void *w, long pair) {
    u32x16 words;
    memcpy(&words, (const uint16_t *)w + pair * 32, sizeof words);
    return (pair_t){(f32x16)(words << 16), (f32x16)(words & 0xffff0000u)};
}

// int8 holds four inner indices side by side; half 0 gives the first two of them.
INLINE pair_t pair_int8(const void *w, long pair) {
    u32x16 words;
    memcpy(&words, (const int8_t *)w + (pair >> 1) * 64, sizeof words);
    if (pair & 1) return (pair_t){__builtin_convertvector((i32x16)(words << 8) >> 24, f32x16),
                                  __builtin_convertvector((i32x16)words >> 24, f32x16)};
    return (pair_t){__builtin_convertvector((i32x16)(words << 24) >> 24, f32x16),
                    __builtin_convertvector((i32x16)(words << 16) >> 24, f32x16)};
}

// acc (m, 16 * j) += a (m, 2 * pairs) * w; the accumulators stay in registers throughout. On the way a nearer cache
// fetches `step` bytes of each panel at `next` for every pair.
#define DEFINE_TILE(TYPE, LINES, IS_FLOAT)                                                                             \
    INLINE void tile_##TYPE(                                                                                           \
        const int m, const int j, const float *a, long a_stride, const char *w, long panel_stride, long pairs,         \
        float *acc_memory, long acc_stride, bool resume, const char *next, long step)                                  \
    {                                                                                                                  \
        f32x16 acc[TILE_ROWS][TILE_PANELS(1)];                                                                         \
        UNROLL for (int r = 0; r < m; r++)                                                                             \
            UNROLL for (int p = 0; p < j; p++)                                                                         \
                acc[r][p] = resume ? load16(acc_memory + r * acc_stride + 16 * p) : splat(0);                          \
        for (long k = 0; k < pairs; k++) {                                                                             \
            UNROLL for (int p = 0; p < j; p++)                                                                         \
                UNROLL for (int line = 0; line < (m > 2 ? LINES : 0); line++)                                          \
                    PREFETCH(next + p * panel_stride + k * step + line * step / LINES);                                \
            UNROLL for (int half = 0; half < 2; half++) {                                                              \
                if (HOLDS_PANELS(j)) {                                                                                 \
                    f32x16 weights[TILE_PANELS(1)];                                                                    \
                    UNROLL for (int p = 0; p < j; p++) {                                                               \
                        const pair_t b = pair_##TYPE(w + p * panel_stride, k);                                         \
                        weights[p] = half ? b.odd : b.even;                                                            \
                    }                                                                                                  \
                    UNROLL for (int r = 0; r < m; r++) {                                                               \
                        const f32x16 x = splat(a[r * a_stride + 2 * k + half]);                                        \
                        UNROLL for (int p = 0; p < j; p++) acc[r][p] = accumulate(acc[r][p], x, weights[p]);           \
                    }                                                                                                  \
                    continue;                                                                                          \
                }                                                                                                      \
                UNROLL for (int p = 0; p < j; p++) {                                                                   \
                    const pair_t b = pair_##TYPE((j > 1 && !IS_FLOAT ? again(w) : w) + p * panel_stride, k);           \
                    const f32x16 weights = half ? b.odd : b.even;                                                      \
                    UNROLL for (int r = 0; r < m; r++)                                                                 \
                        acc[r][p] = fma16(splat(a[r * a_stride + 2 * k + half]), weights, acc[r][p]);                  \
                }                                                                                                      \
            }                                                                                                          \
        }                                                                                                              \
        UNROLL for (int r = 0; r < m; r++)                                                                             \
            UNROLL for (int p = 0; p < j; p++)                                                                         \
                store16(acc_memory + r * acc_stride + 16 * p, acc[r][p]);                                              \
    }

#define TILE_CASE(TYPE, M)                                                                                             \
    case M:                                                                                                            \
        if (j == 1) tile_##TYPE(M, 1, x, a_stride, b, panel_stride, pairs, c, acc_stride, resume, ahead, step);        \
        else                                                                                                           \
            tile_##TYPE(                                                                                               \
                M, TILE_PANELS(M), x, a_stride, b, panel_stride, pairs, c, acc_stride, resume, ahead, step);           \
        break;

// The same for any number of rows, split evenly over tiles, and of panels.
#define DEFINE_TILES(TYPE, ROW, SUM, PANEL)                                                                            \
    __attribute__((noinline)) static void VARIANT(tiles_##TYPE)(                                                       \
        long rows, long panels, const ROW *a, long a_stride, const char *w, long panel_stride, long pairs,             \
        SUM *acc,   long acc_stride, bool resume, const char *next, long next_bytes)                                   \
    {                                                                                                                  \
        const long tiles = (rows + TILE_ROWS - 1) / TILE_ROWS, most = (rows + tiles - 1) / tiles;                      \
        const long step = next_bytes / tiles;                                                                          \
        for (long p = 0, j; p < panels; p += j, next += j * panel_stride) {                                            \
            j = panels - p < TILE_PANELS(most) ? 1 : TILE_PANELS(most);                                                \
            const char *b = w + p * panel_stride;                                                                      \
            for (long tile = 0; tile < tiles; tile++) {                                                                \
                const long r = rows * tile / tiles, m = rows * (tile + 1) / tiles - r;                                 \
                const ROW *x = a + r * a_stride;                                                                       \
                SUM *c = acc + r * acc_stride + PANEL * p;                                                             \
                const char *ahead = next + tile * step * pairs;                                                        \
                switch (m) {                                                                                           \
                    TILE_CASE(TYPE, 1)                                                                                 \
                    TILE_CASE(TYPE, 2)                                                                                 \
                    TILE_CASE(TYPE, 3)                                                                                 \
                    TILE_CASE(TYPE, 4)                                                                                 \
                    TILE_CASE(TYPE, 5)                                                                                 \
                    TILE_CASE(TYPE, 6)                                                                                 \
                }                                                                                                      \
            }                                                                                                          \
        }                                                                                                              \
    }

DEFINE_TILE(f32, 2, 1)
DEFINE_TILE(bf16, 1, 0)
DEFINE_TILE(int8, 1, 0)
DEFINE_TILES(f32, float, float, 16)
DEFINE_TILES(bf16, float, float, 16)
DEFINE_TILES(int8, float, float, 16)

// A slice of a panel as floats (2 * pairs, 16).
#define DEFINE_EXPAND(TYPE)                                                                                            \
    INLINE void expand_##TYPE(const char *panel, long pairs, float *floats) {                                          \
        for (long k = 0; k < pairs; k++) {                                                                             \
            const pair_t b = pair_##TYPE(panel, k);                                                                    \
            store16(floats + 32 * k, b.even);                                                                          \
            store16(floats + 32 * k + 16, b.odd);                                                                      \
        }                                                                                                              \
    }

DEFINE_EXPAND(bf16)
DEFINE_EXPAND(int8)

INLINE void finish(const struct matmul *x, const float *block) {
    const long columns = 16 * x->panels;
    for (long r = 0; r < x->rows; r++)
        for (long c = 0; c < columns; c += 16) {
            f32x16 sum = load16(block + r * columns + c);
            if (x->scale) sum *= load16(x->scale + c);
            if (x->bias) sum += load16(x->bias + c);
            float *out = x->c + r * x->c_stride + c;
            store16(out, x->add ? load16(out) + sum : sum);
        }
}

// Rows lie 2 * SLICE_PAIRS + 16 floats apart where they are copied, so that they do not fall on the same lines of a cache.
#define SLICE_STRIDE (2 * SLICE_PAIRS + 16)

INLINE void copy_slice(const float *a, long a_stride, long rows, long count, float *slice) {
    for (long r = 0; r < rows; r++, a += a_stride, slice += SLICE_STRIDE) memcpy(slice, a, (size_t)count * sizeof *a);
}

// Sums into a block of its own, a slice of the inner index at a time, and hands it over whole. Few rows read the weights
// as they are; for many some panels' slice is made floats once, in the nearest cache.
#define DEFINE_MATMUL(TYPE, PAIR_BYTES, IS_EXPANDED)                                                                   \
    static void VARIANT(matmul_##TYPE)(const struct matmul *x)                                                         \
    {                                                                                                                  \
        float block[KERNELS_MATMUL_ROWS * KERNELS_MATMUL_PANELS * 16] __attribute__((aligned(64)));                    \
        float rows[KERNELS_MATMUL_ROWS * SLICE_STRIDE] __attribute__((aligned(64)));                                   \
        float slice[SLICE_PANELS * SLICE_PAIRS * 32] __attribute__((aligned(64)));                                     \
        const long columns = 16 * x->panels, group = x->rows <= TILE_ROWS ? TILE_PANELS(x->rows) : SLICE_PANELS;       \
        for (long k = 0; k < x->inner / 2; k += SLICE_PAIRS) {                                                         \
            const long pairs = x->inner / 2 - k < SLICE_PAIRS ? x->inner / 2 - k : SLICE_PAIRS;                        \
            const float *a = (const float *)x->a + 2 * k;                                                              \
            long a_stride = x->a_stride / (long)sizeof(float);                                                         \
            if (x->rows > TILE_ROWS) {                                                                                 \
                copy_slice(a, a_stride, x->rows, 2 * pairs, rows);                                                     \
                a = rows;                                                                                              \
                a_stride = SLICE_STRIDE;                                                                               \
            }                                                                                                          \
            for (long p = 0, count; p < x->panels; p += count) {                                                       \
                count = x->panels - p < group ? x->panels - p : group;                                                 \
                const char *w = (const char *)x->w + p * x->panel_stride + k * PAIR_BYTES;                             \
                const bool is_last = p + count >= x->panels && k + SLICE_PAIRS < x->inner / 2;                         \
                const char *next =                                                                                     \
                    is_last ? (const char *)x->w + (k + SLICE_PAIRS) * PAIR_BYTES : w + count * x->panel_stride;       \
                float *c = block + 16 * p;                                                                             \
                if (IS_EXPANDED(x->rows)) {                                                                            \
                    for (long i = 0; i < count; i++)                                                                   \
                        expand_##TYPE(w + i * x->panel_stride, pairs, slice + i * SLICE_PAIRS * 32);                   \
                    VARIANT(tiles_f32)                                                                                 \
                    (x->rows, count, a, a_stride, (const char *)slice, SLICE_PAIRS * 128, pairs, c, columns, k > 0,    \
                     next, PAIR_BYTES);                                                                                \
                } else                                                                                                 \
                    VARIANT(tiles_##TYPE)                                                                              \
                    (x->rows, count, a, a_stride, w, x->panel_stride, pairs, c, columns, k > 0, next, PAIR_BYTES);     \
            }                                                                                                          \
        }                                                                                                              \
        finish(x, block);                                                                                              \
    }

#define expand_f32(panel, pairs, floats)
#define NEVER(rows) 0
DEFINE_MATMUL(f32, 128, NEVER)
DEFINE_MATMUL(bf16, 64, EXPANDS_BF16)
DEFINE_MATMUL(int8, 32, EXPANDS_INT8)

#include "w8a8_kernels.h"

// MARK: Attention

#define QUERY_ROWS 24
#define KEY_BLOCK 64

// `rows` queries (one for each pair of position and head) go over the keys a block at a time, keeping their greatest
// product, the sum of their weights and the weighted sum of values.
struct query_rows {
    float q[QUERY_ROWS * KERNELS_MAX_HEAD];
    float products[QUERY_ROWS * KEY_BLOCK];
    float values[QUERY_ROWS * KERNELS_MAX_HEAD];
    float greatest[QUERY_ROWS], total[QUERY_ROWS];
    long position[QUERY_ROWS];
};

// Turns a row's products with the keys first_key... into weights, and rescales what it had.
INLINE void weigh(struct query_rows *s, const struct attention *x, long row, long first_key, long keys, long columns) {
    float *products = s->products + row * KEY_BLOCK;
    const long last = s->position[row];
    const long first = x->window > 0 && last - x->window + 1 > 0 ? last - x->window + 1 : 0;
    const float infinity = __builtin_inff();
    f32x16 greatest = splat(-infinity);
    for (long k = 0; k < keys; k += 16) {
        f32x16 p = load16(products + k) * splat(x->scale);
        if (x->softcap > 0) p = splat(x->softcap) * tanh16(p / splat(x->softcap));
        const long low = first - first_key - k, high = last - first_key - k;
        if (low > 0 || high < 15) {
            const i32x16 lane = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
            const int32_t from = (int32_t)(low > 16 ? 16 : low < 0 ? 0 : low), to = (int32_t)(high > 15 ? 15 : high < -1 ? -1 : high);
            p = select16((lane >= from) & (lane <= to), p, splat(-infinity));
        }
        store16(products + k, p);
        greatest = max16(p, greatest);
    }
    const float before = s->greatest[row];
    const float block = max_lanes(greatest);
    const float now = block > before ? block : before;
    if (now == -infinity) {
        memset(products, 0, (size_t)keys * sizeof(float));
        return;
    }
    f32x16 sum = splat(0);
    for (long k = 0; k < keys; k += 16) {
        const f32x16 weight = exp16(load16(products + k) - splat(now));
        store16(products + k, weight);
        sum += weight;
    }
    if (now != before) {
        const float correction = before == -infinity ? 0 : exp16(splat(before - now))[0];
        s->total[row] *= correction;
        for (long d = 0; d < columns; d += 16)
            store16(s->values + row * columns + d, load16(s->values + row * columns + d) * splat(correction));
    }
    s->total[row] += sum_lanes(sum);
    s->greatest[row] = now;
}

#define DEFINE_ATTENTION(TYPE, BYTES)                                                                                  \
    static void VARIANT(attention_##TYPE)(const struct attention *x)                                                   \
    {                                                                                                                  \
        struct query_rows s;                                                                                           \
        const long d = x->head_size, columns = (d + 15) / 16 * 16;                                                     \
        const long all = x->queries * x->group;                                                                        \
        for (long start = 0; start < all; start += QUERY_ROWS) {                                                       \
            const long rows = all - start < QUERY_ROWS ? all - start : QUERY_ROWS;                                     \
            long last = 0, first = INT64_MAX;                                                                          \
            for (long r = 0; r < rows; r++) {                                                                          \
                const long query = (start + r) / x->group, head = (start + r) % x->group;                              \
                const long position = x->first_position + query;                                                       \
                memcpy(s.q + r * d, x->q + query * x->q_stride + head * d, (size_t)d * sizeof(float));                 \
                s.position[r] = position;                                                                              \
                s.greatest[r] = -__builtin_inff();                                                                     \
                s.total[r] = 0;                                                                                        \
                const long low = x->window > 0 && position - x->window + 1 > 0 ? position - x->window + 1 : 0;         \
                first = low < first ? low : first;                                                                     \
                last = position > last ? position : last;                                                              \
            }                                                                                                          \
            memset(s.values, 0, (size_t)(rows * columns) * sizeof(float));                                             \
            for (long key = first / KEY_BLOCK * KEY_BLOCK; key <= last; key += KEY_BLOCK) {                            \
                const long left = last - key + 1;                                                                      \
                const long pages = left >= KEY_BLOCK ? KEY_BLOCK / 16 : (left + 15) / 16;                              \
                const int32_t *table = x->pages + key / KERNELS_PAGE;                                                  \
                for (long p = 0; p < pages; p++)                                                                       \
                    VARIANT(tiles_##TYPE)(                                                                             \
                        rows, 1, s.q, d, x->keys + table[p] * x->page_stride, 0, d / 2, s.products + 16 * p,           \
                        KEY_BLOCK, false, (const char *)s.products, 0);                                                \
                for (long r = 0; r < rows; r++) weigh(&s, x, r, key, 16 * pages, columns);                             \
                for (long p = 0; p < pages; p++)                                                                       \
                    VARIANT(tiles_##TYPE)(                                                                             \
                        rows, columns / 16, s.products + 16 * p, KEY_BLOCK, x->values + table[p] * x->page_stride,     \
                        16 * 16 * BYTES, 8, s.values, columns, true, (const char *)s.products, 0);                     \
            }                                                                                                          \
            for (long r = 0; r < rows; r++) {                                                                          \
                float *out = x->out + (start + r) / x->group * x->out_stride + (start + r) % x->group * d;             \
                const f32x16 inverse = splat(1 / s.total[r]);                                                          \
                for (long i = 0; i < d; i += 16)                                                                       \
                    store_part(out + i, load16(s.values + r * columns + i) * inverse, d - i < 16 ? d - i : 16);        \
            }                                                                                                          \
        }                                                                                                              \
    }

DEFINE_ATTENTION(f32, 4)
DEFINE_ATTENTION(bf16, 2)

// MARK: Rows

static void VARIANT(rms_norm)(const float *x, const float *weight, float offset, float epsilon, float *y, long count) {
    f32x16 squares = splat(0);
    long i = 0;
    for (; i + 16 <= count; i += 16) squares = fma16(load16(x + i), load16(x + i), squares);
    if (i < count) {
        const f32x16 tail = load_part(x + i, count - i, 0);
        squares = fma16(tail, tail, squares);
    }
    const f32x16 factor = splat(1 / __builtin_sqrtf(sum_lanes(squares) / (float)count + epsilon));
    for (i = 0; i + 16 <= count; i += 16)
        store16(y + i, load16(x + i) * factor * (splat(offset) + load16(weight + i)));
    if (i < count)
        store_part(
            y + i, load_part(x + i, count - i, 0) * factor * (splat(offset) + load_part(weight + i, count - i, 0)),
            count - i);
}

static void VARIANT(layer_norm)(
    const float *x, const float *weight, const float *bias, float epsilon, float *y, long count)
{
    f32x16 sum = splat(0), squares = splat(0);
    for (long i = 0; i < count; i += 16) sum += load_part(x + i, count - i < 16 ? count - i : 16, 0);
    const float mean = sum_lanes(sum) / (float)count;
    for (long i = 0; i < count; i += 16) {
        const f32x16 centred = load_part(x + i, count - i < 16 ? count - i : 16, mean) - splat(mean);
        squares = fma16(centred, centred, squares);
    }
    const f32x16 factor = splat(1 / __builtin_sqrtf(sum_lanes(squares) / (float)count + epsilon));
    for (long i = 0; i < count; i += 16) {
        const long part = count - i < 16 ? count - i : 16;
        const f32x16 centred = load_part(x + i, part, mean) - splat(mean);
        store_part(y + i, fma16(centred * factor, load_part(weight + i, part, 0), load_part(bias + i, part, 0)), part);
    }
}

static void VARIANT(rotate)(
    float *x, long heads, long head_size, const float *cosine, const float *sine, long half)
{
    for (long h = 0; h < heads; h++, x += head_size)
        for (long i = 0; i < half; i += 16) {
            const long part = half - i < 16 ? half - i : 16;
            const f32x16 a = load_part(x + i, part, 0), b = load_part(x + half + i, part, 0);
            const f32x16 c = load_part(cosine + i, part, 0), s = load_part(sine + i, part, 0);
            store_part(x + i, fma16(a, c, -(b * s)), part);
            store_part(x + half + i, fma16(b, c, a * s), part);
        }
}

INLINE f32x16 silu16(f32x16 x) { return x / (splat(1) + exp16(-x)); }

INLINE f32x16 gelu16(f32x16 x) {
    const f32x16 inner = splat(0.797884561f) * fma16(splat(0.044715f) * x * x, x, x);
    return splat(0.5f) * x * (splat(1) + tanh16(inner));
}

#define DEFINE_GATE(NAME, FUNCTION)                                                                                    \
    static void VARIANT(NAME)(const float *gate, const float *up, float *y, long count)                                \
    {                                                                                                                  \
        for (long i = 0; i < count; i += 16) {                                                                         \
            const long part = count - i < 16 ? count - i : 16;                                                         \
            store_part(y + i, FUNCTION(load_part(gate + i, part, 0)) * load_part(up + i, part, 0), part);              \
        }                                                                                                              \
    }

DEFINE_GATE(silu_gate, silu16)
DEFINE_GATE(gelu_gate, gelu16)

#define DEFINE_MAP(NAME, PARAMETERS, EXPRESSION)                                                                       \
    static void VARIANT(NAME)PARAMETERS                                                                                \
    {                                                                                                                  \
        for (long i = 0; i < count; i += 16) {                                                                         \
            const long part = count - i < 16 ? count - i : 16;                                                         \
            const f32x16 v = load_part(x + i, part, 0);                                                                \
            store_part(x + i, EXPRESSION, part);                                                                       \
        }                                                                                                              \
    }

DEFINE_MAP(gelu, (float *x, long count), gelu16(v))
DEFINE_MAP(softcap, (float *x, float cap, long count), splat(cap) * tanh16(v / splat(cap)))
DEFINE_MAP(add, (float *x, const float *y, long count), v + load_part(y + i, part, 0))
DEFINE_MAP(scale, (float *x, float factor, long count), v * splat(factor))

static float VARIANT(log_sum_exp)(const float *x, long count) {
    const float infinity = __builtin_inff();
    f32x16 greatest = splat(-infinity);
    for (long i = 0; i < count; i += 16)
        greatest = max16(load_part(x + i, count - i < 16 ? count - i : 16, -infinity), greatest);
    const float most = max_lanes(greatest);
    f32x16 sum = splat(0);
    for (long i = 0; i < count; i += 16)
        sum += exp16(load_part(x + i, count - i < 16 ? count - i : 16, -infinity) - splat(most));
    return most + __builtin_logf(sum_lanes(sum));
}

#include "training_kernels.h"

// MARK: Attention of one head, in floats

#define HEAD(name) VARIANT(name)
typedef float operand;

INLINE void store_operands(operand *to, f32x16 values) { store16(to, values); }

INLINE void store_pair(operand *panel, long pair, f32x16 even, f32x16 odd) {
    store16(panel + 32 * pair, even);
    store16(panel + 32 * pair + 16, odd);
}

INLINE void turn(const float *x, long x_stride, long rows, long columns, operand *y) {
    transpose_block(x, x_stride, rows, columns, y, KERNELS_HEAD_QUERIES);
    if (rows % 2 != 0)
        for (long c = 0; c < columns; c++) y[c * KERNELS_HEAD_QUERIES + rows] = 0;
}

INLINE void multiply_operands(
    long rows, long panels, const operand *a, long a_stride, const operand *w, long panel_stride, long pairs,
    float *sums, long stride, bool adds)
{
    VARIANT(tiles_f32)(
        rows, panels, a, a_stride, (const char *)w, 4 * panel_stride, pairs, sums, stride, adds, (const char *)w, 0);
}

#include "attention_kernels.h"

// A variant's table; what differs between variants of one width is given.
#define VECTOR_KERNELS(NAME, ...)                                                                                      \
    {                                                                                                                  \
        .name = NAME, .matmul_f32 = VARIANT(matmul_f32), .matmul_int8 = VARIANT(matmul_int8),                          \
        .attention_f32 = VARIANT(attention_f32), .attention_bf16 = VARIANT(attention_bf16),                            \
        .rms_norm = VARIANT(rms_norm), .layer_norm = VARIANT(layer_norm), .rotate = VARIANT(rotate),                   \
        .silu_gate = VARIANT(silu_gate), .gelu_gate = VARIANT(gelu_gate), .gelu = VARIANT(gelu),                       \
        .softcap = VARIANT(softcap), .add = VARIANT(add), .scale = VARIANT(scale),                                     \
        .log_sum_exp = VARIANT(log_sum_exp), .attend_head = VARIANT(attend_head),                                      \
        .attend_head_backward = VARIANT(attend_head_backward), .rms_norm_backward = VARIANT(rms_norm_backward),        \
        .layer_norm_backward = VARIANT(layer_norm_backward), .silu_gate_backward = VARIANT(silu_gate_backward),        \
        .gelu_gate_backward = VARIANT(gelu_gate_backward), .gelu_backward = VARIANT(gelu_backward),                    \
        .softmax_backward = VARIANT(softmax_backward), .pack_floats = VARIANT(pack_floats),                            \
        .turn_bf16 = VARIANT(turn_bf16), .sum_squares = VARIANT(sum_squares), .adamw = VARIANT(adamw),                 \
        __VA_ARGS__                                                                                                    \
    }
