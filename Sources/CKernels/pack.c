// Packing weights into panels, and keys and values into pages.
#include "kernels.h"
#include "lanes.h"
#include <string.h>

static float float_of_bits(uint32_t bits) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static float widen_f16(uint16_t half) {
    const uint32_t sign = (uint32_t)(half & 0x8000) << 16, magnitude = half & 0x7fff;
    if (magnitude >= 0x7c00) return float_of_bits(sign | 0x7f800000 | (magnitude & 0x3ff) << 13);
    if (magnitude < 0x0400) return (sign ? -1.0f : 1.0f) * (float)magnitude * 0x1p-24f;
    return float_of_bits(sign | ((magnitude << 13) + 0x38000000));
}

static float value_at(const void *source, enum kernels_type type, long index) {
    const char *p = (const char *)source;
    uint16_t half;
    float value;
    switch (type) {
    case KERNELS_F32:
        memcpy(&value, p + 4 * index, sizeof value);
        return value;
    case KERNELS_BF16:
        memcpy(&half, p + 2 * index, sizeof half);
        return float_of_bits((uint32_t)half << 16);
    case KERNELS_F16:
        memcpy(&half, p + 2 * index, sizeof half);
        return widen_f16(half);
    }
}

// MARK: Packing

// A stored matrix. Panels are read as tiles of TILE_INNER inner indices by 16 columns of floats.
struct stored {
    const char *base;
    enum kernels_type type;
    bool transposed;
    long stride, columns;
};

#define TILE_INNER 64

typedef uint16_t u16x4 __attribute__((vector_size(8)));

// Four floats' bits. A half is a float's bits, shifted, times 2^112, which is exact for its denormals too.
INLINE u32x4 load4(const char *p, const enum kernels_type type) {
    u32x4 bits;
    if (type == KERNELS_F32) {
        memcpy(&bits, p, sizeof bits);
        return bits;
    }
    u16x4 halves;
    memcpy(&halves, p, sizeof halves);
    bits = __builtin_convertvector(halves, u32x4);
    if (type == KERNELS_BF16) return bits << 16;
    typedef float f32x4 __attribute__((vector_size(16)));
    const u32x4 magnitude = (bits & 0x7fff) << 13;
    const u32x4 is_special = (u32x4)((bits & 0x7c00) == 0x7c00);
    const u32x4 finite = (u32x4)((f32x4)magnitude * 0x1p112f);
    return (bits & 0x8000) << 16 | (is_special & (magnitude | 0x7f800000)) | (finite & ~is_special);
}

INLINE void read_whole_tile(
    const struct stored *x, const enum kernels_type type, long column, long k, long count, float *tile)
{
    const long bytes = type == KERNELS_F32 ? 4 : 2;
    if (x->transposed) {
        for (long i = 0; i < count; i++)
            for (long c = 0; c < 16; c += 4) {
                const u32x4 four = load4(x->base + ((k + i) * x->stride + column + c) * bytes, type);
                memcpy(tile + 16 * i + c, &four, sizeof four);
            }
        return;
    }
    for (long c = 0; c < 16; c += 4) {
        const char *rows = x->base + ((column + c) * x->stride + k) * bytes;
        for (long i = 0; i < count; i += 4) {
            u32x4 block[4];
            for (int r = 0; r < 4; r++) block[r] = load4(rows + (r * x->stride + i) * bytes, type);
            transpose4(block);
            for (int r = 0; r < 4; r++) memcpy(tile + 16 * (i + r) + c, &block[r], sizeof block[r]);
        }
    }
}

// The tile (count, 16) of the columns from `column` on and the inner indices from k on, zero behind the last column.
static void read_tile(const struct stored *x, long column, long k, long count, float *tile) {
    if (column + 16 <= x->columns && count % 4 == 0) {
        switch (x->type) {
        case KERNELS_F32: return read_whole_tile(x, KERNELS_F32, column, k, count, tile);
        case KERNELS_BF16: return read_whole_tile(x, KERNELS_BF16, column, k, count, tile);
        case KERNELS_F16: return read_whole_tile(x, KERNELS_F16, column, k, count, tile);
        }
    }
    for (long i = 0; i < count; i++)
        for (long c = 0; c < 16; c++) {
            const long index = x->transposed ? (k + i) * x->stride + column + c : (column + c) * x->stride + k + i;
            tile[16 * i + c] = column + c < x->columns ? value_at(x->base, x->type, index) : 0;
        }
}

INLINE long part_of(long inner, long k) { return inner - k < TILE_INNER ? inner - k : TILE_INNER; }

void kernels_pack_f32(
    const void *source, enum kernels_type type, bool transposed, long stride, long columns, long inner, long first,
    long panels, float *packed)
{
    const struct stored stored = {source, type, transposed, stride, columns};
    for (long p = first; p < first + panels; p++)
        for (long k = 0; k < inner; k += TILE_INNER) {
            const long count = part_of(inner, k);
            read_tile(&stored, 16 * p, k, count, packed);
            packed += 16 * count;
        }
}

// Writes past the caches: nobody reads a packed weight soon.
#if defined(__x86_64__)
#define WRITE_BARRIER() __builtin_ia32_sfence()
#else
#define WRITE_BARRIER() (void)0
#endif

// bf16 to bf16 moves pairs as 32-bit words; `words` is a multiple of 4, `packed` on a multiple of 16 bytes.
static void pack_words(const char *source, long stride, long words, uint32_t *packed) {
    for (long k = 0; k < words; k += 4) {
        u32x4 block[16];
        for (int c = 0; c < 16; c++) memcpy(&block[c], source + c * stride * 2 + 4 * k, sizeof block[c]);
        for (int c = 0; c < 16; c += 4) transpose4(block + c);
        for (int i = 0; i < 4; i++)
            for (int c = 0; c < 4; c++) __builtin_nontemporal_store(block[4 * c + i], (u32x4 *)(packed + 16 * (k + i) + 4 * c));
    }
}

void kernels_pack_bf16(
    const void *source, enum kernels_type type, bool transposed, long stride, long columns, long inner, long first,
    long panels, uint16_t *packed)
{
    const struct stored stored = {source, type, transposed, stride, columns};
    const bool is_copy = type == KERNELS_BF16 && !transposed && inner % 8 == 0 && (uintptr_t)packed % 16 == 0;
    for (long p = first; p < first + panels; p++, packed += 16 * inner) {
        if (is_copy && 16 * p + 16 <= columns) {
            pack_words(stored.base + 16 * p * stride * 2, stride, inner / 2, (uint32_t *)packed);
            continue;
        }
        for (long k = 0; k < inner; k += TILE_INNER) {
            float tile[16 * TILE_INNER];
            const long count = part_of(inner, k);
            read_tile(&stored, 16 * p, k, count, tile);
            for (long i = 0; i < count; i += 2) {
                const u32x16 pairs = narrow_pairs(load16(tile + 16 * i), load16(tile + 16 * i + 16));
                memcpy(packed + 16 * (k + i), &pairs, sizeof pairs);
            }
        }
    }
    WRITE_BARRIER();
}

// The quanta of 16 columns.
static void measure_columns(const struct stored *stored, long column, long inner, float *scale, float *inverse) {
    u32x16 greatest = {0};
    for (long k = 0; k < inner; k += TILE_INNER) {
        float tile[16 * TILE_INNER];
        const long count = part_of(inner, k);
        read_tile(stored, column, k, count, tile);
        for (long i = 0; i < count; i++) greatest = greater_magnitude(greatest, load16(tile + 16 * i));
    }
    for (int c = 0; c < 16; c++) {
        const struct quantum quantum = quantum_of(greatest[c]);
        scale[c] = quantum.scale;
        inverse[c] = quantum.inverse;
    }
}

void kernels_pack_int8(
    const void *source, enum kernels_type type, bool transposed, long stride, long columns, long inner, long first,
    long panels, int8_t *packed, float *scale)
{
    const struct stored stored = {source, type, transposed, stride, columns};
    for (long p = first; p < first + panels; p++, scale += 16) {
        float inverse[16];
        measure_columns(&stored, 16 * p, inner, scale, inverse);
        for (long k = 0; k < inner; k += TILE_INNER) {
            float tile[16 * TILE_INNER + 48];
            const long count = part_of(inner, k);
            read_tile(&stored, 16 * p, k, count, tile);
            memset(tile + 16 * count, 0, 48 * sizeof *tile);
            for (long i = 0; i < count; i += 4, packed += 64) {
                u32x16 quads = {0};
                for (int byte = 0; byte < 4; byte++) {
                    const i32x16 values = quantise16(load16(tile + 16 * (i + byte)), load16(inverse));
                    quads |= ((u32x16)values & 0xff) << (8 * byte);
                }
                memcpy(packed, &quads, sizeof quads);
            }
        }
    }
}

void kernels_unpack_f32(const float *packed, long inner, long column, float *row) {
    const float *panel = packed + column / 16 * 16 * inner;
    for (long k = 0; k < inner; k++) row[k] = panel[k * 16 + column % 16];
}

void kernels_unpack_bf16(const uint16_t *packed, long inner, long column, float *row) {
    const uint16_t *panel = packed + column / 16 * 16 * inner;
    for (long k = 0; k < inner; k++)
        row[k] = float_of_bits((uint32_t)panel[k / 2 * 32 + column % 16 * 2 + k % 2] << 16);
}

void kernels_unpack_int8(const int8_t *packed, const float *scale, long inner, long column, float *row) {
    const int8_t *panel = packed + column / 16 * 16 * ((inner + 3) / 4 * 4);
    for (long k = 0; k < inner; k++) row[k] = (float)panel[k / 4 * 64 + column % 16 * 4 + k % 4] * scale[column];
}

void kernels_widen(const void *source, enum kernels_type type, float *values, long count) {
    for (long i = 0; i < count; i++) values[i] = value_at(source, type, i);
}

void kernels_add_bf16(uint16_t *x, const float *y, long count) {
    for (long i = 0; i < count; i++) x[i] = narrow_bf16(value_at(x, KERNELS_BF16, i) + y[i]);
}

void kernels_store_f32(const float *key, const float *value, long head_size, long slot, float *key_page, float *value_page) {
    for (long i = 0; i < head_size; i++) key_page[i * 16 + slot] = key[i];
    for (long i = 0; i < head_size; i++) value_page[i / 16 * 256 + slot * 16 + i % 16] = value[i];
}

void kernels_store_bf16(
    const float *key, const float *value, long head_size, long slot, uint16_t *key_page, uint16_t *value_page)
{
    for (long i = 0; i < head_size; i++) key_page[i / 2 * 32 + slot * 2 + i % 2] = narrow_bf16(key[i]);
    for (long i = 0; i < head_size; i++)
        value_page[i / 16 * 256 + slot / 2 * 32 + i % 16 * 2 + slot % 2] = narrow_bf16(value[i]);
}

void kernels_transpose(const float *x, long x_stride, long rows, long columns, float *y, long y_stride) {
    // Squares that the nearest cache holds twice.
    for (long r = 0; r < rows; r += 64)
        for (long c = 0; c < columns; c += 32)
            transpose_block(
                x + r * x_stride + c, x_stride, rows - r < 64 ? rows - r : 64, columns - c < 32 ? columns - c : 32,
                y + c * y_stride + r, y_stride);
    if (rows % 2 != 0)
        for (long c = 0; c < columns; c++) y[c * y_stride + rows] = 0;
}

// See attention_kernels.h.
long kernels_head_attention_scratch(long keys, long head_size) {
    const long width = (keys + 15) / 16 * 16, columns = (head_size + 15) / 16 * 16;
    return 5 * width * columns + 4 * KERNELS_HEAD_QUERIES * width + 3 * KERNELS_HEAD_QUERIES * columns;
}
