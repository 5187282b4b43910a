// The tile unit as Intel's manual (Software Developer's Manual, volume 2, TDPBF16PS and TDPBSSD) describes it.
#include "tile_emulation.h"
#include <math.h>
#include <string.h>

struct shapes {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
};

static _Thread_local struct shapes shapes;
static _Thread_local char tiles[8][16][64];

static void configure_tiles(const void *from) {
    memcpy(&shapes, from, sizeof shapes);
    memset(tiles, 0, sizeof tiles);
}

static void release_tiles(void) {
    memset(&shapes, 0, sizeof shapes);
    // Whatever is computed without a configuration is seen.
    memset(tiles, 0xff, sizeof tiles);
}

static void load_tile(int tile, const char *from, long stride) {
    memset(tiles[tile], 0, sizeof tiles[tile]);
    for (int r = 0; r < shapes.rows[tile]; r++) memcpy(tiles[tile][r], from + r * stride, shapes.row_bytes[tile]);
}

static void store_tile(int tile, char *to, long stride) {
    for (int r = 0; r < shapes.rows[tile]; r++) memcpy(to + r * stride, tiles[tile][r], shapes.row_bytes[tile]);
}

// Denormals are zero, on the way in and on the way out.
static float flushed(float x) { return fabsf(x) < 0x1p-126f ? copysignf(0, x) : x; }

static float bf16_at(const char *row, int index) {
    uint16_t half;
    memcpy(&half, row + 2 * index, sizeof half);
    const uint32_t bits = (uint32_t)half << 16;
    float value;
    memcpy(&value, &bits, sizeof value);
    return flushed(value);
}

static void multiply_bf16(int sum, int a, int b) {
    for (int m = 0; m < shapes.rows[sum]; m++)
        for (int n = 0; n < shapes.row_bytes[sum] / 4; n++) {
            float even = 0, odd = 0, total;
            for (int k = 0; k < shapes.row_bytes[a] / 4; k++) {
                even = flushed(fmaf(bf16_at(tiles[a][m], 2 * k), bf16_at(tiles[b][k], 2 * n), even));
                odd = flushed(fmaf(bf16_at(tiles[a][m], 2 * k + 1), bf16_at(tiles[b][k], 2 * n + 1), odd));
            }
            memcpy(&total, tiles[sum][m] + 4 * n, sizeof total);
            total = flushed(flushed(total) + flushed(even + odd));
            memcpy(tiles[sum][m] + 4 * n, &total, sizeof total);
        }
}

static void multiply_int8(int sum, int a, int b) {
    for (int m = 0; m < shapes.rows[sum]; m++)
        for (int n = 0; n < shapes.row_bytes[sum] / 4; n++) {
            int32_t total;
            memcpy(&total, tiles[sum][m] + 4 * n, sizeof total);
            for (int k = 0; k < shapes.row_bytes[a]; k++)
                total += (signed char)tiles[a][m][k] * (signed char)tiles[b][k / 4][4 * n + k % 4];
            memcpy(tiles[sum][m] + 4 * n, &total, sizeof total);
        }
}

#define TILES_EMULATED
#define VARIANT(name) name##_emulated
#define TILES_CONFIGURE(from) configure_tiles(from)
#define TILES_RELEASE() release_tiles()
#define TILE_ZERO(tile) memset(tiles[tile], 0, sizeof tiles[tile])
#define TILE_LOAD(tile, from, stride) load_tile(tile, from, stride)
#define TILE_STORE(tile, to, stride) store_tile(tile, to, stride)
#define TILE_PRODUCT_BF16(sum, a, b) multiply_bf16(sum, a, b)
#define TILE_PRODUCT_INT8(sum, a, b) multiply_int8(sum, a, b)
#include "../../Sources/CKernels/kernels_amx.c"

struct kernels tile_emulation_kernels(void) {
    const struct kernels *variants[8];
    const long count = kernels_available(variants, 8);
    struct kernels emulated = *variants[count - 1];
    emulated.name = "amx (emulated)";
    emulated.matmul_bf16 = matmul_bf16_emulated;
    emulated.prepare_bf16 = prepare_bf16_emulated;
    emulated.prepared_bf16_bytes = prepared_bf16_bytes_emulated;
    emulated.matmul_w8a8 = matmul_w8a8_emulated;
    return emulated;
}
