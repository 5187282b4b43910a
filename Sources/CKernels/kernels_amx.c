// Products by AMX's tiles: 16 rows of 64 bytes, which hold 32 bf16 or 64 int8 of the inner index. A packed panel is a row of
// such tiles already. Everything else is the AVX-512 variant's (kernels_avx512.c has the table).
//
// A sum goes over the inner index 64 bytes at a time, whatever the number of rows, and ends with zeros where the inner size
// does not fill a tile; so a row's result does not depend on the rows beside it.
#if defined(__x86_64__)
#include "kernels.h"

#if !defined(TILES_EMULATED)
#include <immintrin.h>
#pragma clang attribute push( \
    __attribute__((target("amx-tile,amx-bf16,amx-int8,avx512f,avx512bw,avx512vl,avx512dq"))), apply_to = function)
#define VARIANT(name) name##_amx
// The compiler does not know how much of the shapes is read.
#define TILES_CONFIGURE(shapes) (__extension__({ __asm__ volatile("" ::: "memory"); _tile_loadconfig(shapes); }))
#define TILES_RELEASE() _tile_release()
#define TILE_ZERO(tile) _tile_zero(tile)
#define TILE_LOAD(tile, from, stride) _tile_loadd(tile, from, stride)
#define TILE_STORE(tile, to, stride) _tile_stored(tile, to, stride)
#define TILE_PRODUCT_BF16(sum, a, b) _tile_dpbf16ps(sum, a, b)
#define TILE_PRODUCT_INT8(sum, a, b) _tile_dpbssd(sum, a, b)
#endif

#include "lanes.h"

#define TILE_BYTES 1024
#define GROUP_PANELS 4
#define BLOCK_ROWS 32
#define SUM_STRIDE (64 * GROUP_PANELS)

struct tile_shapes {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
};

// Many rows: sums 0 1 (the first 16 rows) and 2 3 (the others), rows 4 and 5, weights 6 and 7.
// At most 16:  sums 0 1 2 3, of four panels, rows 4, weights 5 6 7.
static void configure(long rows) {
    const uint8_t upper = (uint8_t)(rows < 16 ? rows : 16), lower = (uint8_t)(rows - upper), weights = 16;
    struct tile_shapes shapes __attribute__((aligned(64))) = {.palette = 1};
    const uint8_t many[8] = {upper, upper, lower, lower, upper, lower, weights, weights};
    const uint8_t few[8] = {upper, upper, upper, upper, upper, weights, weights, weights};
    for (int t = 0; t < 8; t++) {
        shapes.row_bytes[t] = 64;
        shapes.rows[t] = lower > 0 ? many[t] : few[t];
    }
    TILES_CONFIGURE(&shapes);
}

// Some rows times four panels. Where there are fewer panels the last one stands in, and its sums are not read again.
struct tile_block {
    const char *a;
    long a_stride;
    const char *w[GROUP_PANELS];
    long whole, steps;                        // tiles over the inner index: whole ones, and all
    char tails[GROUP_PANELS][TILE_BYTES];     // each panel's last tile, filled up with zeros, where it is not whole
    char sums[BLOCK_ROWS * SUM_STRIDE];       // (BLOCK_ROWS, 16 * GROUP_PANELS), of 32 bits
};

INLINE const char *weight_tile(const struct tile_block *x, long panel, long k) {
    return k < x->whole ? x->w[panel] + TILE_BYTES * k : x->tails[panel];
}

#define DEFINE_SUMS(TYPE)                                                                                              \
    /* More than 16 rows, and two panels at a time. */                                                                 \
    static void sum_many_##TYPE(struct tile_block *x, long panel)                                                      \
    {                                                                                                                  \
        TILE_ZERO(0);                                                                                                  \
        TILE_ZERO(1);                                                                                                  \
        TILE_ZERO(2);                                                                                                  \
        TILE_ZERO(3);                                                                                                  \
        for (long k = 0; k < x->steps; k++) {                                                                          \
            TILE_LOAD(4, x->a + 64 * k, x->a_stride);                                                                  \
            TILE_LOAD(6, weight_tile(x, panel, k), 64);                                                                \
            TILE_LOAD(7, weight_tile(x, panel + 1, k), 64);                                                            \
            TILE_PRODUCT_##TYPE(0, 4, 6);                                                                              \
            TILE_PRODUCT_##TYPE(1, 4, 7);                                                                              \
            TILE_LOAD(5, x->a + 16 * x->a_stride + 64 * k, x->a_stride);                                               \
            TILE_PRODUCT_##TYPE(2, 5, 6);                                                                              \
            TILE_PRODUCT_##TYPE(3, 5, 7);                                                                              \
        }                                                                                                              \
        char *sums = x->sums + 64 * panel;                                                                             \
        TILE_STORE(0, sums, SUM_STRIDE);                                                                               \
        TILE_STORE(1, sums + 64, SUM_STRIDE);                                                                          \
        TILE_STORE(2, sums + 16 * SUM_STRIDE, SUM_STRIDE);                                                             \
        TILE_STORE(3, sums + 16 * SUM_STRIDE + 64, SUM_STRIDE);                                                        \
    }                                                                                                                  \
                                                                                                                       \
    /* At most 16 rows: four panels at once, which are as many streams from memory. */                                 \
    static void sum_few_##TYPE(struct tile_block *x)                                                                   \
    {                                                                                                                  \
        TILE_ZERO(0);                                                                                                  \
        TILE_ZERO(1);                                                                                                  \
        TILE_ZERO(2);                                                                                                  \
        TILE_ZERO(3);                                                                                                  \
        for (long k = 0; k < x->steps; k++) {                                                                          \
            TILE_LOAD(4, x->a + 64 * k, x->a_stride);                                                                  \
            TILE_LOAD(5, weight_tile(x, 0, k), 64);                                                                    \
            TILE_LOAD(6, weight_tile(x, 1, k), 64);                                                                    \
            TILE_LOAD(7, weight_tile(x, 2, k), 64);                                                                    \
            TILE_PRODUCT_##TYPE(0, 4, 5);                                                                              \
            TILE_LOAD(5, weight_tile(x, 3, k), 64);                                                                    \
            TILE_PRODUCT_##TYPE(1, 4, 6);                                                                              \
            TILE_PRODUCT_##TYPE(2, 4, 7);                                                                              \
            TILE_PRODUCT_##TYPE(3, 4, 5);                                                                              \
        }                                                                                                              \
        TILE_STORE(0, x->sums, SUM_STRIDE);                                                                            \
        TILE_STORE(1, x->sums + 64, SUM_STRIDE);                                                                       \
        TILE_STORE(2, x->sums + 128, SUM_STRIDE);                                                                      \
        TILE_STORE(3, x->sums + 192, SUM_STRIDE);                                                                      \
    }

DEFINE_SUMS(BF16)
DEFINE_SUMS(INT8)

// Finds a group's panels and fills up their last tiles. `bytes` of a panel hold its inner size.
static void take_panels(struct tile_block *x, const char *w, long panel_stride, long panels, long bytes) {
    x->whole = bytes / TILE_BYTES;
    x->steps = (bytes + TILE_BYTES - 1) / TILE_BYTES;
    for (long p = 0; p < GROUP_PANELS; p++) {
        x->w[p] = w + (p < panels ? p : panels - 1) * panel_stride;
        if (x->whole == x->steps) continue;
        memset(x->tails[p], 0, TILE_BYTES);
        memcpy(x->tails[p], x->w[p] + TILE_BYTES * x->whole, (size_t)(bytes - TILE_BYTES * x->whole));
    }
}

INLINE void finish_rows(
    const struct matmul *x, const struct tile_block *block, long row, long rows, long panel, long panels, bool is_int8)
{
    for (long r = 0; r < rows; r++)
        for (long p = 0; p < panels; p++) {
            const char *from = block->sums + r * SUM_STRIDE + 64 * p;
            const long column = 16 * (panel + p);
            f32x16 sum;
            if (is_int8) {
                i32x16 whole;
                float scale;
                memcpy(&whole, from, sizeof whole);
                memcpy(&scale, (const char *)x->a + (row + r) * x->a_stride, sizeof scale);
                sum = __builtin_convertvector(whole, f32x16) * splat(scale);
                sum *= load16(x->scale + column);
            } else {
                memcpy(&sum, from, sizeof sum);
            }
            if (x->bias) sum += load16(x->bias + column);
            float *out = x->c + (row + r) * x->c_stride + column;
            store16(out, x->add ? load16(out) + sum : sum);
        }
}

// `values` is where a row's values start.
#define DEFINE_PRODUCT(NAME, TYPE, ELEMENT_BYTES, IS_INT8, values)                                                     \
    void VARIANT(NAME)(const struct matmul *x)                                                                         \
    {                                                                                                                  \
        struct tile_block block __attribute__((aligned(64)));                                                          \
        long configured = 0;                                                                                           \
        block.a_stride = x->a_stride;                                                                                  \
        for (long panel = 0, panels; panel < x->panels; panel += panels) {                                             \
            panels = x->panels - panel < GROUP_PANELS ? x->panels - panel : GROUP_PANELS;                              \
            take_panels(                                                                                               \
                &block, (const char *)x->w + panel * x->panel_stride, x->panel_stride, panels,                         \
                16 * x->inner * ELEMENT_BYTES);                                                                        \
            for (long row = 0, rows; row < x->rows; row += rows) {                                                     \
                rows = x->rows - row < BLOCK_ROWS ? x->rows - row : BLOCK_ROWS;                                        \
                if (rows != configured) configure(rows);                                                               \
                configured = rows;                                                                                     \
                block.a = (const char *)x->a + row * x->a_stride + values;                                             \
                if (rows > 16) {                                                                                       \
                    sum_many_##TYPE(&block, 0);                                                                        \
                    if (panels > 2) sum_many_##TYPE(&block, 2);                                                        \
                } else {                                                                                               \
                    sum_few_##TYPE(&block);                                                                            \
                }                                                                                                      \
                finish_rows(x, &block, row, rows, panel, panels, IS_INT8);                                             \
            }                                                                                                          \
        }                                                                                                              \
        TILES_RELEASE();                                                                                               \
    }

DEFINE_PRODUCT(matmul_bf16, BF16, 2, false, 0)
DEFINE_PRODUCT(matmul_w8a8, INT8, 1, true, 64)

// A row in bf16, with zeros up to a whole tile; an odd number of cache lines, so that rows do not fall on the same ones.
long VARIANT(prepared_bf16_bytes)(long inner) { return 64 * ((inner + 31) / 32 | 1); }

void VARIANT(prepare_bf16)(const float *x, void *prepared, long inner) {
    char *out = prepared;
    const long bytes = VARIANT(prepared_bf16_bytes)(inner);
    for (long k = 0; k < bytes / 2; k += 16) {
        const u32x16 bits = narrow16(inner > k ? load_part(x + k, inner - k, 0) : splat(0));
        const u16x16 halves = __builtin_convertvector(bits >> 16, u16x16);
        memcpy(out + 2 * k, &halves, sizeof halves);
    }
}

#if !defined(TILES_EMULATED)
#pragma clang attribute pop
#endif
#endif
