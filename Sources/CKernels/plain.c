// Every kernel in plain C: what the vector variants must equal, and how to read them.
#include "kernels.h"
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

const struct kernels kernels_plain = {
    .name = "plain", .matmul_f32 = matmul_f32, .matmul_bf16 = matmul_bf16, .matmul_int8 = matmul_int8,
    .prepare_int8 = prepare_int8, .prepared_int8_bytes = prepared_int8_bytes, .matmul_w8a8 = matmul_w8a8,
    .attention_f32 = attention_f32, .attention_bf16 = attention_bf16, .rms_norm = rms_norm, .layer_norm = layer_norm,
    .rotate = rotate, .silu_gate = silu_gate, .gelu_gate = gelu_gate, .gelu = gelu, .softcap = softcap, .add = add,
    .scale = scale, .log_sum_exp = log_sum_exp,
};
