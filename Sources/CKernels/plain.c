// Every kernel in plain C: what the vector variants must equal, and how to read them.
#include "kernels.h"
#include "lanes.h"
#include <math.h>
#include <string.h>

static float widen_bf16(uint16_t half) {
    const uint32_t bits = (uint32_t)half << 16;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

// Weight (inner, column) of one panel.
static float weight_f32(const void *panel, long inner, long column) { return ((const float *)panel)[inner * 16 + column]; }

static float weight_bf16(const void *panel, long inner, long column) {
    return widen_bf16(((const uint16_t *)panel)[inner / 2 * 32 + column * 2 + inner % 2]);
}

static float weight_int8(const void *panel, long inner, long column) {
    return (float)((const int8_t *)panel)[inner / 4 * 64 + column * 4 + inner % 4];
}

typedef float weight_function(const void *panel, long inner, long column);

static void matmul(const struct matmul *x, weight_function weight) {
    for (long row = 0; row < x->rows; row++) {
        const float *a = (const float *)((const char *)x->a + row * x->a_stride);
        for (long column = 0; column < 16 * x->panels; column++) {
            const char *panel = (const char *)x->w + column / 16 * x->panel_stride;
            float sum = 0;
            for (long k = 0; k < x->inner; k++) sum = fmaf(a[k], weight(panel, k, column % 16), sum);
            if (x->scale) sum *= x->scale[column];
            if (x->bias) sum += x->bias[column];
            float *c = x->c + row * x->c_stride + column;
            *c = x->add ? *c + sum : sum;
        }
    }
}

static void matmul_f32(const struct matmul *x) { matmul(x, weight_f32); }
static void matmul_bf16(const struct matmul *x) { matmul(x, weight_bf16); }
static void matmul_int8(const struct matmul *x) { matmul(x, weight_int8); }

// A row of w8a8's activations: its scale, then its values from byte 64 on.
static long prepared_int8_bytes(long inner) { return 64 + (inner + 63) / 64 * 64; }

static void prepare_int8(const float *x, void *prepared, long inner) {
    float greatest = 0;
    bool is_finite = true;
    for (long k = 0; k < inner; k++) {
        greatest = fmaxf(greatest, fabsf(x[k]));
        is_finite = is_finite && isfinite(x[k]);
    }
    const float scale = !is_finite ? NAN : greatest < 1e-30f ? 0 : greatest / 127;
    const float inverse = scale > 0 ? 127 / greatest : 0;
    int8_t *values = (int8_t *)prepared + 64;
    memset(prepared, 0, (size_t)prepared_int8_bytes(inner));
    memcpy(prepared, &scale, sizeof scale);
    for (long k = 0; k < inner; k++) values[k] = inverse > 0 ? (int8_t)lrintf(x[k] * inverse) : 0;
}

static void matmul_w8a8(const struct matmul *x) {
    for (long row = 0; row < x->rows; row++) {
        const char *prepared = (const char *)x->a + row * x->a_stride;
        const int8_t *a = (const int8_t *)prepared + 64;
        float row_scale;
        memcpy(&row_scale, prepared, sizeof row_scale);
        for (long column = 0; column < 16 * x->panels; column++) {
            const int8_t *panel = (const int8_t *)x->w + column / 16 * x->panel_stride;
            int32_t sum = 0;
            for (long k = 0; k < x->inner; k++) sum += a[k] * panel[k / 4 * 64 + column % 16 * 4 + k % 4];
            float product = (float)sum * row_scale;
            product *= x->scale[column];
            if (x->bias) product += x->bias[column];
            float *c = x->c + row * x->c_stride + column;
            *c = x->add ? *c + product : product;
        }
    }
}

// One query of one head: blocks of 64 keys, each block's weights taken from the greatest product so far.
static void attend(const struct attention *x, long query, long head, weight_function weight, long bytes) {
    const long d = x->head_size, last = x->first_position + query;
    const long first = x->window > 0 && last - x->window + 1 > 0 ? last - x->window + 1 : 0;
    const float *q = x->q + query * x->q_stride + head * d;
    float values[KERNELS_MAX_HEAD] = {0}, greatest = -INFINITY, total = 0;
    for (long block = first / 64 * 64; block <= last; block += 64) {
        float products[64], now = greatest;
        for (long key = block; key < block + 64; key++) {
            float *product = &products[key - block];
            *product = -INFINITY;
            if (key < first || key > last) continue;
            const char *page = x->keys + x->pages[key / 16] * x->page_stride;
            float sum = 0;
            for (long i = 0; i < d; i++) sum = fmaf(q[i], weight(page, i, key % 16), sum);
            *product = sum * x->scale;
            if (x->softcap > 0) *product = x->softcap * tanhf(*product / x->softcap);
            if (*product > now) now = *product;
        }
        if (now == -INFINITY) continue;
        const float correction = greatest == -INFINITY ? 0 : expf(greatest - now);
        greatest = now;
        total *= correction;
        for (long i = 0; i < d; i++) values[i] *= correction;
        for (long key = block; key < block + 64; key++) {
            const float w = expf(products[key - block] - greatest);
            total += w;
            if (w == 0) continue;
            const char *page = x->values + x->pages[key / 16] * x->page_stride;
            for (long i = 0; i < d; i++)
                values[i] = fmaf(w, weight(page + i / 16 * 256 * bytes, key % 16, i % 16), values[i]);
        }
    }
    float *out = x->out + query * x->out_stride + head * d;
    for (long i = 0; i < d; i++) out[i] = values[i] * (1 / total);
}

static void attention(const struct attention *x, weight_function weight, long bytes) {
    for (long query = 0; query < x->queries; query++)
        for (long head = 0; head < x->group; head++) attend(x, query, head, weight, bytes);
}

static void attention_f32(const struct attention *x) { attention(x, weight_f32, 4); }
static void attention_bf16(const struct attention *x) { attention(x, weight_bf16, 2); }

static void rms_norm(const float *x, const float *weight, float offset, float epsilon, float *y, long count) {
    float squares = 0;
    for (long i = 0; i < count; i++) squares += x[i] * x[i];
    const float factor = 1 / sqrtf(squares / (float)count + epsilon);
    for (long i = 0; i < count; i++) y[i] = x[i] * factor * (offset + weight[i]);
}

static void layer_norm(
    const float *x, const float *weight, const float *bias, float epsilon, float *y, long count)
{
    float sum = 0, squares = 0;
    for (long i = 0; i < count; i++) sum += x[i];
    const float mean = sum / (float)count;
    for (long i = 0; i < count; i++) squares += (x[i] - mean) * (x[i] - mean);
    const float factor = 1 / sqrtf(squares / (float)count + epsilon);
    for (long i = 0; i < count; i++) y[i] = (x[i] - mean) * factor * weight[i] + bias[i];
}

static void rotate(float *x, long heads, long head_size, const float *cosine, const float *sine, long half) {
    for (long h = 0; h < heads; h++, x += head_size)
        for (long i = 0; i < half; i++) {
            const float a = x[i], b = x[half + i];
            x[i] = a * cosine[i] - b * sine[i];
            x[half + i] = b * cosine[i] + a * sine[i];
        }
}

static float gelu_tanh(float x) { return 0.5f * x * (1 + tanhf(0.797884561f * (x + 0.044715f * x * x * x))); }

static void silu_gate(const float *gate, const float *up, float *y, long count) {
    for (long i = 0; i < count; i++) y[i] = gate[i] / (1 + expf(-gate[i])) * up[i];
}

static void gelu_gate(const float *gate, const float *up, float *y, long count) {
    for (long i = 0; i < count; i++) y[i] = gelu_tanh(gate[i]) * up[i];
}

static void gelu(float *x, long count) {
    for (long i = 0; i < count; i++) x[i] = gelu_tanh(x[i]);
}

static void softcap(float *x, float cap, long count) {
    for (long i = 0; i < count; i++) x[i] = cap * tanhf(x[i] / cap);
}

static void add(float *x, const float *y, long count) {
    for (long i = 0; i < count; i++) x[i] += y[i];
}

static void scale(float *x, float factor, long count) {
    for (long i = 0; i < count; i++) x[i] *= factor;
}

static float log_sum_exp(const float *x, long count) {
    float greatest = -INFINITY, sum = 0;
    for (long i = 0; i < count; i++) greatest = fmaxf(greatest, x[i]);
    for (long i = 0; i < count; i++) sum += expf(x[i] - greatest);
    return greatest + logf(sum);
}

// MARK: Training

static long row_of_key(const struct head_attention *x, long key) {
    return key < x->context ? x->context_row + key : x->own_row + key - x->context;
}

static long first_key(const struct head_attention *x, long query) {
    const long first = x->context + query - x->window + 1;
    return x->window > 0 && first > 0 ? first : 0;
}

// The scaled and capped product of a query with a key.
static float product_of(const struct head_attention *x, long query, long key) {
    const float *q = x->q + (x->own_row + query) * x->stride, *k = x->k + row_of_key(x, key) * x->stride;
    float sum = 0;
    for (long i = 0; i < x->head_size; i++) sum += q[i] * k[i];
    sum *= x->scale;
    return x->softcap > 0 ? x->softcap * tanhf(sum / x->softcap) : sum;
}

static void attend_head(const struct head_attention *x) {
    for (long query = 0; query < x->count; query++) {
        const long row = x->own_row + query, last = x->context + query, first = first_key(x, query);
        float *out = x->out + row * x->out_stride, greatest = -INFINITY, total = 0;
        for (long key = first; key <= last; key++) greatest = fmaxf(greatest, product_of(x, query, key));
        memset(out, 0, (size_t)x->head_size * sizeof *out);
        for (long key = first; key <= last; key++) {
            const float weight = expf(product_of(x, query, key) - greatest);
            const float *v = x->v + row_of_key(x, key) * x->stride;
            total += weight;
            for (long i = 0; i < x->head_size; i++) out[i] += weight * v[i];
        }
        for (long i = 0; i < x->head_size; i++) out[i] /= total;
        x->log_sums[row * x->log_sums_stride] = greatest + logf(total);
    }
}

static void attend_head_backward(const struct head_attention *x) {
    const long d = x->head_size;
    for (long query = 0; query < x->count; query++) {
        const long row = x->own_row + query;
        const float *out = x->out + row * x->out_stride, *d_out = x->d_out + row * x->out_stride;
        const float *q = x->q + row * x->stride;
        float *dq = x->dq + row * x->d_stride, mean = 0;
        memset(dq, 0, (size_t)d * sizeof *dq);
        for (long i = 0; i < d; i++) mean += out[i] * d_out[i];
        for (long key = first_key(x, query); key <= x->context + query; key++) {
            const long other = row_of_key(x, key);
            const float *k = x->k + other * x->stride, *v = x->v + other * x->stride;
            float *dk = x->dk + other * x->d_stride, *dv = x->dv + other * x->d_stride;
            const float product = product_of(x, query, key);
            const float weight = expf(product - x->log_sums[row * x->log_sums_stride]);
            float gradient = 0;
            for (long i = 0; i < d; i++) gradient += d_out[i] * v[i];
            gradient = weight * (gradient - mean) * x->scale;
            if (x->softcap > 0) gradient *= 1 - product / x->softcap * (product / x->softcap);
            for (long i = 0; i < d; i++) {
                dq[i] += gradient * k[i];
                dk[i] += gradient * q[i];
                dv[i] += weight * d_out[i];
            }
        }
    }
}

static void rms_norm_backward(
    const float *x, const float *weight, float offset, float epsilon, const float *dy, float *dx, float *dweight,
    long count)
{
    float squares = 0, dot = 0;
    for (long i = 0; i < count; i++) {
        squares += x[i] * x[i];
        dot += dy[i] * (offset + weight[i]) * x[i];
    }
    const float r = 1 / sqrtf(squares / (float)count + epsilon);
    for (long i = 0; i < count; i++) {
        dx[i] += r * (dy[i] * (offset + weight[i]) - x[i] * (r * r * dot / (float)count));
        dweight[i] += dy[i] * x[i] * r;
    }
}

static void layer_norm_backward(
    const float *x, const float *weight, float epsilon, const float *dy, float *dx, float *dweight, float *dbias,
    long count)
{
    float sum = 0, squares = 0, total = 0, dot = 0;
    for (long i = 0; i < count; i++) sum += x[i];
    const float mean = sum / (float)count;
    for (long i = 0; i < count; i++) {
        squares += (x[i] - mean) * (x[i] - mean);
        total += dy[i] * weight[i];
        dot += dy[i] * weight[i] * (x[i] - mean);
    }
    const float r = 1 / sqrtf(squares / (float)count + epsilon);
    for (long i = 0; i < count; i++) {
        const float centred = x[i] - mean;
        dx[i] += r * (dy[i] * weight[i] - total / (float)count - centred * (r * r * dot / (float)count));
        dweight[i] += dy[i] * centred * r;
        dbias[i] += dy[i];
    }
}

static float silu(float x) { return x / (1 + expf(-x)); }

static float silu_slope(float x) {
    const float s = 1 / (1 + expf(-x));
    return s * (1 + x * (1 - s));
}

static float gelu_slope(float x) {
    const float t = tanhf(0.797884561f * (x + 0.044715f * x * x * x));
    return 0.5f * (1 + t + x * (1 - t * t) * 0.797884561f * (1 + 3 * 0.044715f * x * x));
}

static void silu_gate_backward(float *gate, float *up, const float *dy, long count) {
    for (long i = 0; i < count; i++) {
        const float g = gate[i];
        gate[i] = dy[i] * up[i] * silu_slope(g);
        up[i] = dy[i] * silu(g);
    }
}

static void gelu_gate_backward(float *gate, float *up, const float *dy, long count) {
    for (long i = 0; i < count; i++) {
        const float g = gate[i];
        gate[i] = dy[i] * up[i] * gelu_slope(g);
        up[i] = dy[i] * gelu_tanh(g);
    }
}

static void gelu_backward(const float *x, float *dy, long count) {
    for (long i = 0; i < count; i++) dy[i] *= gelu_slope(x[i]);
}

static void softmax_backward(float *x, float log_sum, float factor, float cap, long count) {
    for (long i = 0; i < count; i++) {
        const float slope = cap > 0 ? 1 - x[i] / cap * (x[i] / cap) : 1;
        x[i] = factor * expf(x[i] - log_sum) * slope;
    }
}

static void pack_floats(
    const float *source, bool transposed, long stride, long columns, long inner, long first, long panels,
    uint16_t *packed)
{
    kernels_pack_bf16(source, KERNELS_F32, transposed, stride, columns, inner, first, panels, packed);
}

static void turn_bf16(const float *x, long x_stride, long rows, long columns, uint16_t *y, long y_stride) {
    for (long c = 0; c < columns; c++)
        for (long r = 0; r < y_stride; r++) y[c * y_stride + r] = r < rows ? narrow_bf16(x[r * x_stride + c]) : 0;
}

static double sum_squares(const float *x, long count) {
    double sum = 0;
    for (long i = 0; i < count; i++) sum += (double)x[i] * (double)x[i];
    return sum;
}

static void adamw(const struct adamw *a, const float *gradient, float *m, float *v, float *weights, long count) {
    for (long i = 0; i < count; i++) {
        const float g = gradient[i] * a->gradient_scale;
        weights[i] *= 1 - a->learning_rate * a->weight_decay;
        m[i] += (g - m[i]) * (1 - a->beta1);
        v[i] = v[i] * a->beta2 + g * g * (1 - a->beta2);
        const float denominator = sqrtf(v[i]) / sqrtf(a->correction2) + a->epsilon;
        weights[i] -= a->learning_rate / a->correction1 * (m[i] / denominator);
    }
}

const struct kernels kernels_plain = {
    .name = "plain", .matmul_f32 = matmul_f32, .matmul_bf16 = matmul_bf16, .matmul_int8 = matmul_int8,
    .prepare_int8 = prepare_int8, .prepared_int8_bytes = prepared_int8_bytes, .matmul_w8a8 = matmul_w8a8,
    .attention_f32 = attention_f32, .attention_bf16 = attention_bf16, .rms_norm = rms_norm, .layer_norm = layer_norm,
    .rotate = rotate, .silu_gate = silu_gate, .gelu_gate = gelu_gate, .gelu = gelu, .softcap = softcap, .add = add,
    .scale = scale, .log_sum_exp = log_sum_exp, .attend_head = attend_head,
    .attend_head_backward = attend_head_backward, .rms_norm_backward = rms_norm_backward,
    .layer_norm_backward = layer_norm_backward, .silu_gate_backward = silu_gate_backward,
    .gelu_gate_backward = gelu_gate_backward, .gelu_backward = gelu_backward, .softmax_backward = softmax_backward,
    .pack_floats = pack_floats, .turn_bf16 = turn_bf16, .sum_squares = sum_squares, .adamw = adamw,
};
