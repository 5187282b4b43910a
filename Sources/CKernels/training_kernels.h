// The kernels of training, written once; included by vector_kernels.h, whose tiles they use.

// MARK: Attention of one head

#define QUERIES 48

// What attend_head and attend_head_backward lay out in their scratch: `width` keys, `columns` of a head, both whole panels.
struct head_layout {
    long width, columns;
    float *keys_across;     // (width / 16, head_size, 16)    the panels of k'
    float *values_across;   // (width / 16, head_size, 16)    backward: of v'
    float *along;           // (columns / 16, width, 16)      the panels of v; backward: of k
    float *dk, *dv;         // (width, columns)
    float *products;        // (QUERIES, width)
    float *weights;         // (QUERIES, width)
    float *gradients;       // (QUERIES, width)
    float *turned;          // (width, QUERIES)
    float *panels;          // (columns / 16, QUERIES, 16)
    float *rows;            // (QUERIES, columns)
};

INLINE struct head_layout lay_out(const struct head_attention *x) {
    struct head_layout s;
    s.width = (x->context + x->count + 15) / 16 * 16;
    s.columns = (x->head_size + 15) / 16 * 16;
    const long matrix = s.width * s.columns, block = QUERIES * s.width;
    s.keys_across = x->scratch;
    s.values_across = s.keys_across + matrix;
    s.along = s.values_across + matrix;
    s.dk = s.along + matrix;
    s.dv = s.dk + matrix;
    s.products = s.dv + matrix;
    s.weights = s.products + block;
    s.gradients = s.weights + block;
    s.turned = s.gradients + block;
    s.panels = s.turned + block;
    s.rows = s.panels + QUERIES * s.columns;
    return s;
}

INLINE long row_of_key(const struct head_attention *x, long key) {
    return key < x->context ? x->context_row + key : x->own_row + key - x->context;
}

// Panels whose columns are keys: (width / 16, head_size, 16), zero behind the last key.
static void VARIANT(pack_across)(const struct head_attention *x, const float *source, long width, float *panels) {
    const long d = x->head_size, keys = x->context + x->count;
    for (long k = 0; k < width; k += 16, panels += 16 * d)
        for (long i = 0; i < 16; i++) {
            if (k + i >= keys) {
                for (long j = 0; j < d; j++) panels[16 * j + i] = 0;
                continue;
            }
            const float *row = source + row_of_key(x, k + i) * x->stride;
            for (long j = 0; j < d; j++) panels[16 * j + i] = row[j];
        }
}

// Panels whose inner index is the key: (columns / 16, width, 16), zero behind the last key and column.
static void VARIANT(pack_along)(const struct head_attention *x, const float *source, long width, float *panels) {
    const long d = x->head_size, keys = x->context + x->count;
    for (long j = 0; j < d; j += 16, panels += 16 * width) {
        for (long k = 0; k < keys; k++)
            store16(panels + 16 * k, load_part(source + row_of_key(x, k) * x->stride + j, d - j < 16 ? d - j : 16, 0));
        memset(panels + 16 * keys, 0, (size_t)(16 * (width - keys)) * sizeof(float));
    }
}

// Some rows as panels of their columns: (columns / 16, QUERIES, 16), with a row of zeros behind an odd number.
INLINE void pack_rows(const float *rows, long stride, long count, long d, float *panels) {
    for (long j = 0; j < d; j += 16, panels += 16 * QUERIES) {
        for (long r = 0; r < count; r++)
            store16(panels + 16 * r, load_part(rows + r * stride + j, d - j < 16 ? d - j : 16, 0));
        if (count % 2 != 0) store16(panels + 16 * count, splat(0));
    }
}

// The keys that a block's queries may see: first...last in whole panels.
struct key_range {
    long first, last;
};

INLINE struct key_range keys_of_block(const struct head_attention *x, long query, long rows) {
    const long lowest = x->context + query - x->window + 1;
    return (struct key_range){
        x->window > 0 && lowest > 0 ? lowest / 16 * 16 : 0, (x->context + query + rows + 15) / 16 * 16};
}

INLINE i32x16 is_seen(const struct head_attention *x, long query, long key) {
    const long last = x->context + query;
    const long first = x->window > 0 && last - x->window + 1 > 0 ? last - x->window + 1 : 0;
    const i32x16 lane = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    const i32x16 keys = lane + (int32_t)key;
    return (keys >= (int32_t)first) & (keys <= (int32_t)last);
}

// The scaled and capped products of a block's queries with its keys.
static void VARIANT(multiply_keys)(
    const struct head_attention *x, const struct head_layout *s, long query, long rows, struct key_range keys)
{
    const long d = x->head_size;
    VARIANT(tiles_f32)(
        rows, (keys.last - keys.first) / 16, x->q + (x->own_row + query) * x->stride, x->stride,
        (const char *)(s->keys_across + keys.first * d), d * 64, d / 2, s->products + keys.first, s->width, false,
        (const char *)s->products, 0);
    for (long r = 0; r < rows; r++)
        for (long k = keys.first; k < keys.last; k += 16) {
            float *p = s->products + r * s->width + k;
            f32x16 product = load16(p) * splat(x->scale);
            if (x->softcap > 0) product = splat(x->softcap) * tanh16(product / splat(x->softcap));
            store16(p, product);
        }
}

static void VARIANT(attend_head)(const struct head_attention *x) {
    const struct head_layout s = lay_out(x);
    const long d = x->head_size;
    VARIANT(pack_across)(x, x->k, s.width, s.keys_across);
    VARIANT(pack_along)(x, x->v, s.width, s.along);
    for (long query = 0; query < x->count; query += QUERIES) {
        const long rows = x->count - query < QUERIES ? x->count - query : QUERIES;
        const struct key_range keys = keys_of_block(x, query, rows);
        VARIANT(multiply_keys)(x, &s, query, rows, keys);
        float inverse[QUERIES];
        for (long r = 0; r < rows; r++) {
            float *products = s.products + r * s.width;
            f32x16 greatest = splat(-__builtin_inff()), sum = splat(0);
            for (long k = keys.first; k < keys.last; k += 16) {
                const f32x16 p = select16(is_seen(x, query + r, k), load16(products + k), splat(-__builtin_inff()));
                store16(products + k, p);
                greatest = max16(p, greatest);
            }
            const float most = max_lanes(greatest);
            for (long k = keys.first; k < keys.last; k += 16) {
                const f32x16 weight = exp16(load16(products + k) - splat(most));
                store16(products + k, weight);
                sum += weight;
            }
            const float total = sum_lanes(sum);
            inverse[r] = 1 / total;
            x->log_sums[(x->own_row + query + r) * x->log_sums_stride] = most + __builtin_logf(total);
        }
        VARIANT(tiles_f32)(
            rows, s.columns / 16, s.products + keys.first, s.width, (const char *)(s.along + 16 * keys.first),
            s.width * 64, (keys.last - keys.first) / 2, s.rows, s.columns, false, (const char *)s.products, 0);
        for (long r = 0; r < rows; r++)
            for (long j = 0; j < d; j += 16)
                store_part(
                    x->out + (x->own_row + query + r) * x->out_stride + j,
                    load16(s.rows + r * s.columns + j) * splat(inverse[r]), d - j < 16 ? d - j : 16);
    }
}

// From the products: the weights, and the gradients of the products before scale and cap.
INLINE void weigh_backward(
    const struct head_attention *x, const struct head_layout *s, long query, long rows, struct key_range keys)
{
    const long d = x->head_size;
    for (long r = 0; r < rows; r++) {
        const long row = x->own_row + query + r;
        const float *out = x->out + row * x->out_stride, *d_out = x->d_out + row * x->out_stride;
        f32x16 dot = splat(0);
        for (long j = 0; j < d; j += 16) {
            const long part = d - j < 16 ? d - j : 16;
            dot = fma16(load_part(out + j, part, 0), load_part(d_out + j, part, 0), dot);
        }
        const f32x16 mean = splat(sum_lanes(dot)), log_sum = splat(x->log_sums[row * x->log_sums_stride]);
        for (long k = keys.first; k < keys.last; k += 16) {
            const f32x16 product = load16(s->products + r * s->width + k);
            const f32x16 weight = select16(is_seen(x, query + r, k), exp16(product - log_sum), splat(0));
            f32x16 gradient = weight * (load16(s->gradients + r * s->width + k) - mean) * splat(x->scale);
            if (x->softcap > 0) {
                const f32x16 capped = product / splat(x->softcap);
                gradient *= splat(1) - capped * capped;
            }
            store16(s->weights + r * s->width + k, weight);
            store16(s->gradients + r * s->width + k, gradient);
        }
    }
}

// target (keys, columns) += block' (keys, rows) * panels (rows, columns).
static void VARIANT(add_turned)(
    const struct head_layout *s, const float *block, long rows, struct key_range keys, float *target)
{
    const long count = keys.last - keys.first;
    transpose_block(block + keys.first, s->width, rows, count, s->turned, QUERIES);
    if (rows % 2 != 0)
        for (long k = 0; k < count; k++) s->turned[k * QUERIES + rows] = 0;
    VARIANT(tiles_f32)(
        count, s->columns / 16, s->turned, QUERIES, (const char *)s->panels, QUERIES * 64, (rows + 1) / 2,
        target + keys.first * s->columns, s->columns, true, (const char *)s->panels, 0);
}

INLINE void add_key_rows(const struct head_attention *x, const float *sums, long columns, float *target) {
    const long d = x->head_size;
    for (long k = 0; k < x->context + x->count; k++) {
        float *row = target + row_of_key(x, k) * x->d_stride;
        for (long j = 0; j < d; j += 16) {
            const long part = d - j < 16 ? d - j : 16;
            store_part(row + j, load_part(row + j, part, 0) + load16(sums + k * columns + j), part);
        }
    }
}

static void VARIANT(attend_head_backward)(const struct head_attention *x) {
    const struct head_layout s = lay_out(x);
    const long d = x->head_size;
    VARIANT(pack_across)(x, x->k, s.width, s.keys_across);
    VARIANT(pack_across)(x, x->v, s.width, s.values_across);
    VARIANT(pack_along)(x, x->k, s.width, s.along);
    memset(s.dk, 0, (size_t)(2 * s.width * s.columns) * sizeof(float));
    for (long query = 0; query < x->count; query += QUERIES) {
        const long rows = x->count - query < QUERIES ? x->count - query : QUERIES, first = x->own_row + query;
        const struct key_range keys = keys_of_block(x, query, rows);
        VARIANT(multiply_keys)(x, &s, query, rows, keys);
        VARIANT(tiles_f32)(
            rows, (keys.last - keys.first) / 16, x->d_out + first * x->out_stride, x->out_stride,
            (const char *)(s.values_across + keys.first * d), d * 64, d / 2, s.gradients + keys.first, s.width, false,
            (const char *)s.products, 0);
        weigh_backward(x, &s, query, rows, keys);
        pack_rows(x->d_out + first * x->out_stride, x->out_stride, rows, d, s.panels);
        VARIANT(add_turned)(&s, s.weights, rows, keys, s.dv);
        pack_rows(x->q + first * x->stride, x->stride, rows, d, s.panels);
        VARIANT(add_turned)(&s, s.gradients, rows, keys, s.dk);
        VARIANT(tiles_f32)(
            rows, s.columns / 16, s.gradients + keys.first, s.width, (const char *)(s.along + 16 * keys.first),
            s.width * 64, (keys.last - keys.first) / 2, s.rows, s.columns, false, (const char *)s.products, 0);
        for (long r = 0; r < rows; r++)
            for (long j = 0; j < d; j += 16)
                store_part(
                    x->dq + (first + r) * x->d_stride + j, load16(s.rows + r * s.columns + j), d - j < 16 ? d - j : 16);
    }
    add_key_rows(x, s.dk, s.columns, x->dk);
    add_key_rows(x, s.dv, s.columns, x->dv);
}

// MARK: Rows

static void VARIANT(rms_norm_backward)(
    const float *x, const float *weight, float offset, float epsilon, const float *dy, float *dx, float *dweight,
    long count)
{
    f32x16 squares = splat(0), dot = splat(0);
    for (long i = 0; i < count; i += 16) {
        const long part = count - i < 16 ? count - i : 16;
        const f32x16 v = load_part(x + i, part, 0);
        const f32x16 g = load_part(dy + i, part, 0) * (splat(offset) + load_part(weight + i, part, 0));
        squares = fma16(v, v, squares);
        dot = fma16(g, v, dot);
    }
    const float r = 1 / __builtin_sqrtf(sum_lanes(squares) / (float)count + epsilon);
    const f32x16 factor = splat(r), mean = splat(r * r * sum_lanes(dot) / (float)count);
    for (long i = 0; i < count; i += 16) {
        const long part = count - i < 16 ? count - i : 16;
        const f32x16 v = load_part(x + i, part, 0), dv = load_part(dy + i, part, 0);
        const f32x16 g = dv * (splat(offset) + load_part(weight + i, part, 0));
        store_part(dx + i, load_part(dx + i, part, 0) + factor * (g - v * mean), part);
        store_part(dweight + i, fma16(dv, v * factor, load_part(dweight + i, part, 0)), part);
    }
}

static void VARIANT(layer_norm_backward)(
    const float *x, const float *weight, float epsilon, const float *dy, float *dx, float *dweight, float *dbias,
    long count)
{
    f32x16 sum = splat(0), squares = splat(0), total = splat(0), dot = splat(0);
    for (long i = 0; i < count; i += 16) sum += load_part(x + i, count - i < 16 ? count - i : 16, 0);
    const float mean = sum_lanes(sum) / (float)count;
    for (long i = 0; i < count; i += 16) {
        const long part = count - i < 16 ? count - i : 16;
        const f32x16 v = load_part(x + i, part, mean) - splat(mean);
        const f32x16 g = load_part(dy + i, part, 0) * load_part(weight + i, part, 0);
        squares = fma16(v, v, squares);
        dot = fma16(g, v, dot);
        total += g;
    }
    const float r = 1 / __builtin_sqrtf(sum_lanes(squares) / (float)count + epsilon);
    const f32x16 factor = splat(r), shift = splat(sum_lanes(total) / (float)count);
    const f32x16 slope = splat(r * r * sum_lanes(dot) / (float)count);
    for (long i = 0; i < count; i += 16) {
        const long part = count - i < 16 ? count - i : 16;
        const f32x16 v = load_part(x + i, part, mean) - splat(mean), dv = load_part(dy + i, part, 0);
        const f32x16 g = dv * load_part(weight + i, part, 0);
        store_part(dx + i, load_part(dx + i, part, 0) + factor * (g - shift - v * slope), part);
        store_part(dweight + i, fma16(dv, v * factor, load_part(dweight + i, part, 0)), part);
        store_part(dbias + i, load_part(dbias + i, part, 0) + dv, part);
    }
}

// gelu'(x), of the tanh approximation.
INLINE f32x16 gelu_slope16(f32x16 x) {
    const f32x16 square = x * x;
    const f32x16 t = tanh16(splat(0.797884561f) * fma16(splat(0.044715f) * square, x, x));
    const f32x16 slope = splat(0.797884561f) * fma16(splat(3 * 0.044715f), square, splat(1));
    return splat(0.5f) * (splat(1) + t + x * (splat(1) - t * t) * slope);
}

INLINE f32x16 silu_slope16(f32x16 x) {
    const f32x16 s = splat(1) / (splat(1) + exp16(-x));
    return s * (splat(1) + x * (splat(1) - s));
}

#define DEFINE_GATE_BACKWARD(NAME, FUNCTION, SLOPE)                                                                    \
    static void VARIANT(NAME)(float *gate, float *up, const float *dy, long count)                                     \
    {                                                                                                                  \
        for (long i = 0; i < count; i += 16) {                                                                         \
            const long part = count - i < 16 ? count - i : 16;                                                         \
            const f32x16 g = load_part(gate + i, part, 0), d = load_part(dy + i, part, 0);                             \
            store_part(gate + i, d * load_part(up + i, part, 0) * SLOPE(g), part);                                     \
            store_part(up + i, d * FUNCTION(g), part);                                                                 \
        }                                                                                                              \
    }

DEFINE_GATE_BACKWARD(silu_gate_backward, silu16, silu_slope16)
DEFINE_GATE_BACKWARD(gelu_gate_backward, gelu16, gelu_slope16)

static void VARIANT(gelu_backward)(const float *x, float *dy, long count) {
    for (long i = 0; i < count; i += 16) {
        const long part = count - i < 16 ? count - i : 16;
        store_part(dy + i, load_part(dy + i, part, 0) * gelu_slope16(load_part(x + i, part, 0)), part);
    }
}

static void VARIANT(softmax_backward)(float *x, float log_sum, float factor, float cap, long count) {
    for (long i = 0; i < count; i += 16) {
        const long part = count - i < 16 ? count - i : 16;
        const f32x16 v = load_part(x + i, part, 0);
        f32x16 gradient = splat(factor) * exp16(v - splat(log_sum));
        if (cap > 0) gradient *= splat(1) - v / splat(cap) * (v / splat(cap));
        store_part(x + i, gradient, part);
    }
}

// MARK: Rounding to bf16

// A whole panel of floats: 16 columns by `inner`, a multiple of 32 unless the source is transposed.
INLINE void pack_panel(const float *source, bool transposed, long stride, long inner, uint16_t *packed) {
    if (transposed) {
        for (long k = 0; k < inner; k += 2, source += 2 * stride) {
            const u32x16 pairs = narrow_pairs(load16(source), load16(source + stride));
            memcpy(packed + 16 * k, &pairs, sizeof pairs);
        }
        return;
    }
    for (long k = 0; k < inner; k += 32) {
        u32x16 words[16];
        for (int c = 0; c < 16; c++) {
            const f32x16 a = load16(source + c * stride + k), b = load16(source + c * stride + k + 16);
            words[c] = narrow_pairs(
                __builtin_shufflevector(a, b, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30),
                __builtin_shufflevector(a, b, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31));
        }
        transpose16(words);
        memcpy(packed + 16 * k, words, sizeof words);
    }
}

static void VARIANT(pack_floats)(
    const float *source, bool transposed, long stride, long columns, long inner, long first, long panels,
    uint16_t *packed)
{
    for (long p = first; p < first + panels; p++, packed += 16 * inner)
        if ((transposed || inner % 32 == 0) && 16 * p + 16 <= columns)
            pack_panel(source + 16 * p * (transposed ? 1 : stride), transposed, stride, inner, packed);
        else
            kernels_pack_bf16(source, KERNELS_F32, transposed, stride, columns, inner, p, 1, packed);
}

static void VARIANT(turn_bf16)(const float *x, long x_stride, long rows, long columns, uint16_t *y, long y_stride) {
    for (long r = 0; r < y_stride; r += 32)
        for (long c = 0; c < columns; c += 16) {
            const long part = columns - c < 16 ? columns - c : 16, left = y_stride - r < 32 ? y_stride - r : 32;
            u32x16 words[16];
            const float *from = x + r * x_stride + c;
            if (part == 16 && r + 32 <= rows) {
                UNROLL for (int i = 0; i < 16; i++)
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

static double VARIANT(sum_squares)(const float *x, long count) {
    double total = 0;
    for (long block = 0; block < count; block += 4096) {
        const long end = count - block < 4096 ? count : block + 4096;
        f32x16 sum = splat(0);
        for (long i = block; i < end; i += 16) {
            const f32x16 v = load_part(x + i, end - i < 16 ? end - i : 16, 0);
            sum = fma16(v, v, sum);
        }
        total += (double)sum_lanes(sum);
    }
    return total;
}

static void VARIANT(adamw)(
    const struct adamw *a, const float *gradient, float *m, float *v, float *weights, long count)
{
    const f32x16 keep = splat(1 - a->learning_rate * a->weight_decay), step = splat(a->learning_rate / a->correction1);
    const f32x16 root = splat(__builtin_sqrtf(a->correction2));
    for (long i = 0; i < count; i += 16) {
        const long part = count - i < 16 ? count - i : 16;
        const f32x16 g = load_part(gradient + i, part, 0) * splat(a->gradient_scale);
        const f32x16 first = fma16(g - load_part(m + i, part, 0), splat(1 - a->beta1), load_part(m + i, part, 0));
        const f32x16 second = load_part(v + i, part, 0) * splat(a->beta2) + g * g * splat(1 - a->beta2);
        const f32x16 w = load_part(weights + i, part, 0) * keep;
        const f32x16 denominator = __builtin_elementwise_sqrt(second) / root + splat(a->epsilon);
        store_part(m + i, first, part);
        store_part(v + i, second, part);
        store_part(weights + i, w - step * (first / denominator), part);
    }
}
