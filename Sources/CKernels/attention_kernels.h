// Attention of one head, forward and backward: written once, for products of floats and of bf16. Included with
//   HEAD(name)        the name with a suffix of its own
//   operand           what products multiply: float or uint16_t
//   store_operands(operand *to, f32x16)                          sixteen in a row
//   store_pair(operand *panel, long pair, f32x16 even, f32x16 odd)   two inner indices of a panel
//   turn(const float *x, long x_stride, long rows, long columns, operand *y)
//                     y (columns, QUERIES) = x transposed, with a zero behind an odd number of rows
//   multiply_operands(long rows, long panels, const operand *a, long a_stride, const operand *w, long panel_stride,
//                     long pairs, float *sums, long stride, bool adds)
//                     sums (rows, 16 * panels) = a (rows, 2 * pairs) * w, or += the same; strides in elements
#define QUERIES KERNELS_HEAD_QUERIES
#define OPERANDS_A_FLOAT ((long)(sizeof(float) / sizeof(operand)))

// What the two functions lay out in their scratch: `width` keys, `columns` of a head, both whole panels.
struct head_layout {
    long width, columns;
    operand *keys_across;   // (width / 16, head_size, 16)    the panels of k'
    operand *values_across; // (width / 16, head_size, 16)    backward: of v'
    operand *along;         // (columns / 16, width, 16)      the panels of v; backward: of k
    float *dk, *dv;         // (width, columns)
    float *products;        // (QUERIES, width)
    float *weights;         // (QUERIES, width)
    float *gradients;       // (QUERIES, width)
    operand *turned;        // (width, QUERIES)
    operand *panels;        // (columns / 16, QUERIES, 16)
    operand *taken;         // (QUERIES, columns)
    float *rows;            // (QUERIES, columns)
};

INLINE struct head_layout lay_out(const struct head_attention *x) {
    struct head_layout s;
    s.width = (x->context + x->count + 15) / 16 * 16;
    s.columns = (x->head_size + 15) / 16 * 16;
    const long matrix = s.width * s.columns, block = QUERIES * s.width, rows = QUERIES * s.columns;
    float *next = x->scratch;
    s.keys_across = (operand *)next, next += matrix;
    s.values_across = (operand *)next, next += matrix;
    s.along = (operand *)next, next += matrix;
    s.dk = next, next += matrix;
    s.dv = next, next += matrix;
    s.products = next, next += block;
    s.weights = next, next += block;
    s.gradients = next, next += block;
    s.turned = (operand *)next, next += block;
    s.panels = (operand *)next, next += rows;
    s.taken = (operand *)next, next += rows;
    s.rows = next;
    return s;
}

INLINE long row_of_key(const struct head_attention *x, long key) {
    return key < x->context ? x->context_row + key : x->own_row + key - x->context;
}

// Sixteen columns of a key's row from column j on, zero behind the last key and column.
INLINE f32x16 part_of_key(const struct head_attention *x, const float *source, long key, long j) {
    if (key >= x->context + x->count) return splat(0);
    return load_part(source + row_of_key(x, key) * x->stride + j, x->head_size - j, 0);
}

// Panels whose columns are keys: (width / 16, head_size, 16).
static void HEAD(pack_across)(const struct head_attention *x, const float *source, long width, operand *panels) {
    const long d = x->head_size;
    for (long k = 0; k < width; k += 16, panels += 16 * d)
        for (long j = 0; j < d; j += 16) {
            u32x16 words[16];
            for (int i = 0; i < 16; i++) words[i] = (u32x16)part_of_key(x, source, k + i, j);
            transpose16(words);
            for (int i = 0; i < 16 && j + i < d; i += 2)
                store_pair(panels, (j + i) / 2, (f32x16)words[i], (f32x16)words[i + 1]);
        }
}

// Panels whose inner index is the key: (columns / 16, width, 16).
static void HEAD(pack_along)(const struct head_attention *x, const float *source, long width, operand *panels) {
    for (long j = 0; j < x->head_size; j += 16, panels += 16 * width)
        for (long k = 0; k < width; k += 2)
            store_pair(panels, k / 2, part_of_key(x, source, k, j), part_of_key(x, source, k + 1, j));
}

// Some rows as panels whose inner index is the row: (columns / 16, QUERIES, 16), zero behind an odd number.
INLINE void pack_rows(const float *rows, long stride, long count, long d, operand *panels) {
    for (long j = 0; j < d; j += 16, panels += 16 * QUERIES)
        for (long r = 0; r < count; r += 2) {
            const float *row = rows + r * stride + j;
            const f32x16 odd = r + 1 < count ? load_part(row + stride, d - j, 0) : splat(0);
            store_pair(panels, r / 2, load_part(row, d - j, 0), odd);
        }
}

// Some rows as what a product takes: (count, columns).
INLINE void take_rows(const float *rows, long stride, long count, long d, operand *taken, long columns) {
    for (long r = 0; r < count; r++)
        for (long j = 0; j < d; j += 16)
            store_operands(taken + r * columns + j, load_part(rows + r * stride + j, d - j, 0));
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

// products (rows, keys) = the rows of a block, from `row` on, times keys or values.
INLINE void multiply_across(
    const struct head_attention *x, const struct head_layout *s, const float *row, long stride, long rows,
    const operand *across, struct key_range keys, float *products)
{
    const long d = x->head_size;
    take_rows(row, stride, rows, d, s->taken, s->columns);
    multiply_operands(
        rows, (keys.last - keys.first) / 16, s->taken, s->columns, across + keys.first * d, 16 * d, d / 2,
        products + keys.first, s->width, false);
}

// s->rows (rows, columns) = the block's weights of keys, stored as operands, times keys or values.
INLINE void multiply_along(const struct head_layout *s, const float *block, long rows, struct key_range keys) {
    multiply_operands(
        rows, s->columns / 16, (const operand *)block + keys.first, s->width * OPERANDS_A_FLOAT,
        s->along + 16 * keys.first, 16 * s->width, (keys.last - keys.first) / 2, s->rows, s->columns, false);
}

// The scaled and capped products of a block's queries with its keys.
static void HEAD(multiply_keys)(
    const struct head_attention *x, const struct head_layout *s, long query, long rows, struct key_range keys)
{
    multiply_across(
        x, s, x->q + (x->own_row + query) * x->stride, x->stride, rows, s->keys_across, keys, s->products);
    for (long r = 0; r < rows; r++)
        for (long k = keys.first; k < keys.last; k += 16) {
            float *p = s->products + r * s->width + k;
            f32x16 product = load16(p) * splat(x->scale);
            if (x->softcap > 0) product = splat(x->softcap) * tanh16(product / splat(x->softcap));
            store16(p, product);
        }
}

// The exponentials of a query's products become operands, in place; returns ln of their sum, and its inverse.
INLINE float exponentiate(
    const struct head_attention *x, float *products, long query, struct key_range keys, float *inverse)
{
    f32x16 greatest = splat(-__builtin_inff()), sum = splat(0);
    for (long k = keys.first; k < keys.last; k += 16) {
        const f32x16 p = select16(is_seen(x, query, k), load16(products + k), splat(-__builtin_inff()));
        store16(products + k, p);
        greatest = max16(p, greatest);
    }
    const float most = max_lanes(greatest);
    for (long k = keys.first; k < keys.last; k += 16) {
        const f32x16 weight = exp16(load16(products + k) - splat(most));
        store_operands((operand *)products + k, weight);
        sum += weight;
    }
    const float total = sum_lanes(sum);
    *inverse = 1 / total;
    return most + __builtin_logf(total);
}

static void HEAD(attend_head)(const struct head_attention *x) {
    const struct head_layout s = lay_out(x);
    const long d = x->head_size;
    HEAD(pack_across)(x, x->k, s.width, s.keys_across);
    HEAD(pack_along)(x, x->v, s.width, s.along);
    for (long query = 0; query < x->count; query += QUERIES) {
        const long rows = x->count - query < QUERIES ? x->count - query : QUERIES, first = x->own_row + query;
        const struct key_range keys = keys_of_block(x, query, rows);
        HEAD(multiply_keys)(x, &s, query, rows, keys);
        float inverse[QUERIES];
        for (long r = 0; r < rows; r++)
            x->log_sums[(first + r) * x->log_sums_stride] =
                exponentiate(x, s.products + r * s.width, query + r, keys, &inverse[r]);
        multiply_along(&s, s.products, rows, keys);
        for (long r = 0; r < rows; r++)
            for (long j = 0; j < d; j += 16)
                store_part(
                    x->out + (first + r) * x->out_stride + j, load16(s.rows + r * s.columns + j) * splat(inverse[r]),
                    d - j);
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
        for (long j = 0; j < d; j += 16) dot = fma16(load_part(out + j, d - j, 0), load_part(d_out + j, d - j, 0), dot);
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

// target (keys, columns) += block' (keys, rows) * source (rows, columns).
static void HEAD(add_turned)(
    const struct head_attention *x, const struct head_layout *s, const float *block, const float *source, long stride,
    long rows, struct key_range keys, float *target)
{
    const long count = keys.last - keys.first;
    pack_rows(source, stride, rows, x->head_size, s->panels);
    turn(block + keys.first, s->width, rows, count, s->turned);
    multiply_operands(
        count, s->columns / 16, s->turned, QUERIES, s->panels, 16 * QUERIES, (rows + 1) / 2,
        target + keys.first * s->columns, s->columns, true);
}

// A block's floats become operands, in place.
INLINE void narrow_block(float *block, long width, long rows, struct key_range keys) {
    if (sizeof(operand) == sizeof(float)) return;
    for (long r = 0; r < rows; r++, block += width)
        for (long k = keys.first; k < keys.last; k += 16) store_operands((operand *)block + k, load16(block + k));
}

INLINE void add_key_rows(const struct head_attention *x, const float *sums, long columns, float *target) {
    const long d = x->head_size;
    for (long k = 0; k < x->context + x->count; k++) {
        float *row = target + row_of_key(x, k) * x->d_stride;
        for (long j = 0; j < d; j += 16)
            store_part(row + j, load_part(row + j, d - j, 0) + load16(sums + k * columns + j), d - j);
    }
}

static void HEAD(attend_head_backward)(const struct head_attention *x) {
    const struct head_layout s = lay_out(x);
    const long d = x->head_size;
    HEAD(pack_across)(x, x->k, s.width, s.keys_across);
    HEAD(pack_across)(x, x->v, s.width, s.values_across);
    HEAD(pack_along)(x, x->k, s.width, s.along);
    memset(s.dk, 0, (size_t)(2 * s.width * s.columns) * sizeof(float));
    for (long query = 0; query < x->count; query += QUERIES) {
        const long rows = x->count - query < QUERIES ? x->count - query : QUERIES, first = x->own_row + query;
        const float *q = x->q + first * x->stride, *d_out = x->d_out + first * x->out_stride;
        const struct key_range keys = keys_of_block(x, query, rows);
        HEAD(multiply_keys)(x, &s, query, rows, keys);
        multiply_across(x, &s, d_out, x->out_stride, rows, s.values_across, keys, s.gradients);
        weigh_backward(x, &s, query, rows, keys);
        HEAD(add_turned)(x, &s, s.weights, d_out, x->out_stride, rows, keys, s.dv);
        HEAD(add_turned)(x, &s, s.gradients, q, x->stride, rows, keys, s.dk);
        narrow_block(s.gradients, s.width, rows, keys);
        multiply_along(&s, s.gradients, rows, keys);
        for (long r = 0; r < rows; r++)
            for (long j = 0; j < d; j += 16)
                store_part(x->dq + (first + r) * x->d_stride + j, load16(s.rows + r * s.columns + j), d - j);
    }
    add_key_rows(x, s.dk, s.columns, x->dk);
    add_key_rows(x, s.dv, s.columns, x->dv);
}
