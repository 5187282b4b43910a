// Products of int8 weights with int8 activations. The variant's file defines
//   QUAD_BYTES      of four activations: 4 as int8, or 8 as int16 in the order 0 2 1 3
//   WEIGHT_OFFSET   what unpack_quads adds to each weight; a row's sum takes it off again
//   unpack_quads(words, pass)   the weights of 16 columns that meet the activations at 4 * pass, of QUAD_BYTES / 4 passes
//   dot_quads(sum, weights, activations)   sum + the products of each column's weights with four bytes of activations

// A prepared row: this, and its values from byte 64 on.
struct VARIANT(row) {
    float scale;
    int32_t sum;
};

// An odd number of cache lines, so that rows do not fall on the same lines of a cache.
static long VARIANT(prepared_int8_bytes)(long inner) {
    return 64 * ((64 + (inner + 15) / 16 * 4 * QUAD_BYTES + 63) / 64 | 1);
}

INLINE void store_quads(char *out, i32x16 values) {
#if QUAD_BYTES == 8
    const i16x16 halves = __builtin_convertvector(values, i16x16);
    const i16x16 quads = __builtin_shufflevector(halves, halves, 0, 2, 1, 3, 4, 6, 5, 7, 8, 10, 9, 11, 12, 14, 13, 15);
#else
    const i8x16 quads = __builtin_convertvector(values, i8x16);
#endif
    memcpy(out, &quads, sizeof quads);
}

static void VARIANT(prepare_int8)(const float *x, void *prepared, long inner) {
    u32x16 greatest = {0};
    for (long k = 0; k < inner; k += 16) greatest = greater_magnitude(greatest, load_part(x + k, inner - k, 0));
    const struct quantum quantum = quantum_of(greatest_lane(greatest));
    memset(prepared, 0, (size_t)VARIANT(prepared_int8_bytes)(inner));
    char *out = (char *)prepared + 64;
    i32x16 sums = {0};
    for (long k = 0; k < inner; k += 16, out += 4 * QUAD_BYTES) {
        const i32x16 values = quantise16(load_part(x + k, inner - k, 0), splat(quantum.inverse));
        sums += values;
        store_quads(out, values);
    }
    struct VARIANT(row) row = {quantum.scale, 0};
    for (int i = 0; i < 16; i++) row.sum += sums[i];
    memcpy(prepared, &row, sizeof row);
}

// acc (m, 16 * j) += a (m, 4 * quads) * w
INLINE void tile_w8a8(
    const int m, const int j, const char *a, long a_stride, const char *w, long panel_stride, long quads,
    i32x16 *acc_memory, long acc_stride, bool resume, const char *next, long step)
{
    i32x16 acc[TILE_ROWS][TILE_PANELS(1)];
    UNROLL for (int r = 0; r < m; r++)
        UNROLL for (int p = 0; p < j; p++) acc[r][p] = resume ? acc_memory[r * acc_stride + p] : (i32x16){0};
    for (long k = 0; k < quads; k++)
        UNROLL for (int p = 0; p < j; p++) {
            if (m > 2) PREFETCH(next + p * panel_stride + k * step);
            UNROLL for (int pass = 0; pass < QUAD_BYTES / 4; pass++) {
                i16x32 words;
                memcpy(&words, again(w) + p * panel_stride + 64 * k, sizeof words);
                const i16x32 weights = unpack_quads(words, pass);
                UNROLL for (int r = 0; r < m; r++) {
                    int32_t activations;
                    memcpy(&activations, a + r * a_stride + QUAD_BYTES * k + 4 * pass, sizeof activations);
                    acc[r][p] = dot_quads(acc[r][p], weights, activations);
                }
            }
        }
    UNROLL for (int r = 0; r < m; r++)
        UNROLL for (int p = 0; p < j; p++) acc_memory[r * acc_stride + p] = acc[r][p];
}

DEFINE_TILES(w8a8, char, i32x16, 1)

// The sums of a slice of the inner index at a time; the weights' slice stays in the nearest cache.
#define SLICE_QUADS 256

static void VARIANT(matmul_w8a8)(const struct matmul *x) {
    i32x16 block[KERNELS_MATMUL_ROWS * KERNELS_MATMUL_PANELS];
    const char *a = (const char *)x->a + 64;
    const long group = TILE_PANELS(x->rows < TILE_ROWS ? x->rows : TILE_ROWS), all = x->inner / 4;
    for (long k = 0; k < all; k += SLICE_QUADS) {
        const long quads = all - k < SLICE_QUADS ? all - k : SLICE_QUADS;
        for (long p = 0, count; p < x->panels; p += count) {
            count = x->panels - p < group ? x->panels - p : group;
            const char *w = (const char *)x->w + p * x->panel_stride + 64 * k;
            const bool is_last = p + count >= x->panels && k + SLICE_QUADS < all;
            const char *next = is_last ? (const char *)x->w + 64 * (k + SLICE_QUADS) : w + count * x->panel_stride;
            VARIANT(tiles_w8a8)
            (x->rows, count, a + QUAD_BYTES * k, x->a_stride, w, x->panel_stride, quads, block + p, x->panels, k > 0, next,
             64);
        }
    }
    for (long r = 0; r < x->rows; r++) {
        struct VARIANT(row) row;
        memcpy(&row, (const char *)x->a + r * x->a_stride, sizeof row);
        for (long p = 0; p < x->panels; p++) {
            const i32x16 sum = block[r * x->panels + p] - WEIGHT_OFFSET * row.sum;
            f32x16 product = __builtin_convertvector(sum, f32x16) * splat(row.scale);
            product *= load16(x->scale + 16 * p);
            if (x->bias) product += load16(x->bias + 16 * p);
            float *out = x->c + r * x->c_stride + 16 * p;
            store16(out, x->add ? load16(out) + product : product);
        }
    }
}
