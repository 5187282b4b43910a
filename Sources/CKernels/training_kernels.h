// The kernels of training but for attention, written once; included by vector_kernels.h.

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
    turn_pairs(x, x_stride, rows, columns, y, y_stride);
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
