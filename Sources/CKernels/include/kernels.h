// The loop nests over a model's dimensions, on raw pointers; nothing here allocates, throws, logs or starts threads.
//
// Every kernel exists in plain C (the reference, and what a reader should read first) and in vector variants, chosen once
// at run time from what the CPU has. In f32 and bf16 every output element is one chain of fused multiply-adds in the order
// of the inner index, whatever the number of rows, the variant's width or the split over threads: plain C, AVX2 and
// AVX-512 agree to the last bit, and a row's result never depends on its neighbours. In bf16, AMX (32 products at a time)
// and AVX512_BF16 (pairs of products) round both sides to bf16, add in an order of their own that does not depend on the
// rows either, and flush denormals to zero. Where both sides are int8 the sums are exact, and all variants agree.
//
// Weights are packed once, in panels of 16 columns:
//   f32   (panels, inner, 16)
//   bf16  (panels, inner / 2, 16, 2)   a pair of consecutive inner indices side by side
//   int8  (panels, inner / 4, 16, 4)   with a scale for each column
// Columns past the last are zero. `inner` is even (a multiple of 4 for int8; for w8a8 at most 65536, so that no sum of
// products leaves 32 bits).
#pragma once
#include <stdbool.h>
#include <stdint.h>

#define KERNELS_PANEL 16
// Positions a page of the key-value cache holds.
#define KERNELS_PAGE 16
#define KERNELS_MAX_HEAD 256
// Queries that attend_head computes at a time.
#define KERNELS_HEAD_QUERIES 48
// A call of matmul covers at most so many panels and rows.
#define KERNELS_MATMUL_PANELS 8
#define KERNELS_MATMUL_ROWS 96

// c (rows, 16 * panels) = a (rows, inner) * w (+ bias), or c += the same.
struct matmul {
    const void *a;          // rows of `a_stride` bytes: f32, or what the variant's prepare function wrote
    long a_stride;          // bytes
    const void *w;          // packed panels; `panel_stride` bytes each
    long panel_stride;
    const float *scale;     // (16 * panels), int8 and w8a8 only
    const float *bias;      // (16 * panels), or null
    float *c;               // rows of c_stride floats; may not overlap a
    long c_stride;
    long rows, inner, panels;
    bool add;
};

// Attention of the query heads that share one key-value head, over the pages of one sequence.
// out = softmax(mask(softcap(scale * q k'))) v, computed over blocks of 64 keys from position 0 on.
struct attention {
    const float *q;         // (queries, q_stride); the group's heads lie side by side
    long q_stride;          // floats
    float *out;             // (queries, out_stride), as q
    long out_stride;
    const char *keys;       // page p of this head at keys + pages[p] * page_stride: (head_size, 16) or bf16 pairs
    const char *values;     // likewise: (ceil(head_size / 16), 16, 16), or bf16 pairs of positions
    const int32_t *pages;
    long page_stride;       // bytes
    long queries, group, head_size;
    long first_position;    // of the first query; query i sees the keys 0...first_position + i
    long window;            // and of those only the last `window`; 0 is all
    float scale, softcap;   // softcap 0 is none
};

// Training: the attention of one query head over one segment of a tree of tokens. Key i lies in row context_row + i where
// i < context (the segment that this one continues), else in row own_row + i - context; query j is key context + j.
struct head_attention {
    const float *q, *k, *v; // row r of this head at r * stride
    long stride;            // floats
    long context_row, context, own_row, count;
    long head_size, window; // window 0 is all
    float scale, softcap;   // softcap 0 is none
    float *out;             // row r at r * out_stride
    long out_stride;
    float *log_sums;        // of row r at r * log_sums_stride: ln(sum(exp(product)))
    long log_sums_stride;
    // The backward pass alone: `out` and `log_sums` are read; dq is written, dk and dv are added to, rows as k's.
    const float *d_out;     // row r at r * out_stride
    float *dq, *dk, *dv;    // row r at r * d_stride
    long d_stride;
    float *scratch;         // kernels_head_attention_scratch floats, at a multiple of 64 bytes
};

struct adamw {
    float learning_rate, beta1, beta2, epsilon, weight_decay;
    float correction1, correction2; // 1 - beta^step
    float gradient_scale;           // what the gradient is multiplied by before anything else
};

// One variant of every kernel.
struct kernels {
    const char *name;

    // What matmul_bf16 takes as activations: floats themselves (both are null), or a row in a format of the variant's own,
    // made once a product. The bytes are a multiple of 64.
    void (*prepare_bf16)(const float *x, void *prepared, long inner);
    long (*prepared_bf16_bytes)(long inner);
    // Likewise for matmul_w8a8, in every variant: a row as -127...127 times its greatest magnitude / 127, rounded to the
    // nearest, ties to even. A row below 1e-30 is zero; a row with an infinity or a not-a-number gives not-a-number.
    void (*prepare_int8)(const float *x, void *prepared, long inner);
    long (*prepared_int8_bytes)(long inner);

    void (*matmul_f32)(const struct matmul *);
    void (*matmul_bf16)(const struct matmul *);
    // Weights in int8, activations floats.
    void (*matmul_int8)(const struct matmul *);
    // Weights and activations in int8: the exact sum, as a float, * the row's scale * the column's scale (+ bias).
    void (*matmul_w8a8)(const struct matmul *);

    void (*attention_f32)(const struct attention *);
    void (*attention_bf16)(const struct attention *);

    // y (count) = x * 1/sqrt(mean(x^2) + epsilon) * (offset + weight); x may be y.
    void (*rms_norm)(const float *x, const float *weight, float offset, float epsilon, float *y, long count);
    // y = (x - mean) / sqrt(variance + epsilon) * weight + bias; x may be y.
    void (*layer_norm)(const float *x, const float *weight, const float *bias, float epsilon, float *y, long count);
    // Turns the pairs (i, i + half) of `heads` heads, `head_size` floats apart, by angles given as cosines and sines (half).
    void (*rotate)(float *x, long heads, long head_size, const float *cosine, const float *sine, long half);
    // y = silu(gate) * up, or geluTanh(gate) * up; gelu_tanh in place.
    void (*silu_gate)(const float *gate, const float *up, float *y, long count);
    void (*gelu_gate)(const float *gate, const float *up, float *y, long count);
    void (*gelu)(float *x, long count);
    // x = cap * tanh(x / cap)
    void (*softcap)(float *x, float cap, long count);
    void (*add)(float *x, const float *y, long count);
    void (*scale)(float *x, float factor, long count);
    // ln(sum(exp(x)))
    float (*log_sum_exp)(const float *x, long count);

    // Backward: d... of an input or a weight is added to, unless it says otherwise.
    void (*attend_head)(const struct head_attention *);
    void (*attend_head_backward)(const struct head_attention *);
    // The same with what enters products rounded to bf16; null where that is no faster.
    void (*attend_head_bf16)(const struct head_attention *);
    void (*attend_head_backward_bf16)(const struct head_attention *);
    void (*rms_norm_backward)(
        const float *x, const float *weight, float offset, float epsilon, const float *dy, float *dx, float *dweight,
        long count);
    void (*layer_norm_backward)(
        const float *x, const float *weight, float epsilon, const float *dy, float *dx, float *dweight, float *dbias,
        long count);
    // Overwrites gate and up with their gradients.
    void (*silu_gate_backward)(float *gate, float *up, const float *dy, long count);
    void (*gelu_gate_backward)(float *gate, float *up, const float *dy, long count);
    // dy = dy * gelu'(x)
    void (*gelu_backward)(const float *x, float *dy, long count);
    // x = factor * exp(x - log_sum), and where cap > 0 times 1 - (x / cap)^2: the gradient of the softmax with respect
    // to logits before the cap, but for the target's own part.
    void (*softmax_backward)(float *x, float log_sum, float factor, float cap, long count);
    // Packs the panels first..<first + panels of floats as kernels_pack_bf16 does.
    void (*pack_floats)(
        const float *source, bool transposed, long stride, long columns, long inner, long first, long panels,
        uint16_t *packed);
    // y (columns, y_stride) = x (rows, x_stride) transposed and rounded to bf16, zero from `rows` to the stride, which is
    // even: the rows that a prepare_bf16 makes of the transposed matrix.
    void (*turn_bf16)(const float *x, long x_stride, long rows, long columns, uint16_t *y, long y_stride);
    // sum(x^2), in blocks of 4096 that are summed in double.
    double (*sum_squares)(const float *x, long count);
    // The update of Loshchilov and Hutter, in the order of torch.optim.AdamW.
    void (*adamw)(const struct adamw *, const float *gradient, float *m, float *v, float *weights, long count);
};

// Floats of scratch for attend_head and attend_head_backward over so many keys.
long kernels_head_attention_scratch(long keys, long head_size);

// y (columns, y_stride) = x (rows, x_stride) transposed; y's columns from `rows` up to the next even number are zero.
void kernels_transpose(const float *x, long x_stride, long rows, long columns, float *y, long y_stride);

// The variants that this CPU has, best first; the last one is plain C.
long kernels_available(const struct kernels **variants, long capacity);

// MARK: Packing: once, at load; and the cache's pages

enum kernels_type { KERNELS_F32, KERNELS_BF16, KERNELS_F16 };

// Packs the panels first..<first + panels. Element (column, k) of the source lies at column * stride + k, or where
// `transposed` at k * stride + column.
void kernels_pack_f32(
    const void *source, enum kernels_type type, bool transposed, long stride, long columns, long inner, long first,
    long panels, float *packed);
void kernels_pack_bf16(
    const void *source, enum kernels_type type, bool transposed, long stride, long columns, long inner, long first,
    long panels, uint16_t *packed);
// Quantises each column to -127...127 times its scale (its greatest magnitude / 127), as prepare_int8 does a row: a column
// with an infinity or a not-a-number has not-a-number for its scale.
void kernels_pack_int8(
    const void *source, enum kernels_type type, bool transposed, long stride, long columns, long inner, long first,
    long panels, int8_t *packed, float *scale);
// Row `column` of a packed matrix, as floats (inner).
void kernels_unpack_f32(const float *packed, long inner, long column, float *row);
void kernels_unpack_bf16(const uint16_t *packed, long inner, long column, float *row);
void kernels_unpack_int8(const int8_t *packed, const float *scale, long inner, long column, float *row);

void kernels_widen(const void *source, enum kernels_type type, float *values, long count);

// x = bf16(x + y)
void kernels_add_bf16(uint16_t *x, const float *y, long count);

// Writes one position's key and value (head_size each) into slot `slot` of its pages.
void kernels_store_f32(const float *key, const float *value, long head_size, long slot, float *key_page, float *value_page);
void kernels_store_bf16(
    const float *key, const float *value, long head_size, long slot, uint16_t *key_page, uint16_t *value_page);

// Lets another hardware thread of the core go first; for short waits.
static inline void kernels_pause(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}
