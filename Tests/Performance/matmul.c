// Matrix products of this package's kernels beside oneDNN's, interleaved in one run, with weights that no cache holds.
//
//     matmul THREADS ROUNDS MAX_GFLOP COLD_MB INNERxCOLUMNS... -- ROWS...
//
// Copies of a weight matrix take turns; together they are COLD_MB or more.
// A product of ours takes floats: what it does to activations before it multiplies is timed with it. oneDNN's bf16 gets
// bf16. Both pack weights beforehand. Prints GFLOP/s, medians of the rounds and the best one in brackets.
#define _GNU_SOURCE
#include "kernels.h"
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#if defined(HAS_ONEDNN)
#include <oneapi/dnnl/dnnl.h>
#endif

#define MOST_ROUNDS 99

static long cold_bytes;

// One thread is measured by its own time, which other processes disturb less.
static clockid_t measuring_clock = CLOCK_MONOTONIC;

static double now(void) {
    struct timespec t;
    clock_gettime(measuring_clock, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static char *allocate(size_t bytes) {
    const size_t huge = 2 << 20;
    char *memory = aligned_alloc(huge, (bytes + huge - 1) / huge * huge);
    if (!memory) {
        fprintf(stderr, "%zu bytes of memory are not to be had\n", bytes);
        exit(1);
    }
    madvise(memory, (bytes + huge - 1) / huge * huge, MADV_HUGEPAGE);
    return memory;
}

static float next_value(uint32_t *state) {
    *state = *state * 1664525 + 1013904223;
    return (float)(int32_t)*state * 0x1p-31f;
}

// MARK: Threads that take pieces of one loop

static struct {
    long threads;
    atomic_long loop, next, done, count;
    void (*body)(void *context, long piece);
    void *context;
    pthread_mutex_t mutex;
    pthread_cond_t wake;
} pool = {.mutex = PTHREAD_MUTEX_INITIALIZER, .wake = PTHREAD_COND_INITIALIZER};

static void take_pieces(void) {
    for (long piece; (piece = atomic_fetch_add(&pool.next, 1)) < pool.count;) pool.body(pool.context, piece);
}

// Spins for some 50 microseconds, then sleeps, so that the other side's turn is its own.
static void wait_for_loop(long seen) {
    for (int spins = 0; spins < 1500; spins++) {
        if (atomic_load(&pool.loop) != seen) return;
        kernels_pause();
    }
    pthread_mutex_lock(&pool.mutex);
    while (atomic_load(&pool.loop) == seen) pthread_cond_wait(&pool.wake, &pool.mutex);
    pthread_mutex_unlock(&pool.mutex);
}

static void *work(void *argument) {
    (void)argument;
    for (long seen = 0;; seen++) {
        wait_for_loop(seen);
        take_pieces();
        atomic_fetch_add(&pool.done, 1);
    }
    return NULL;
}

static void start_threads(long threads) {
    pool.threads = threads;
    for (long t = 1; t < threads; t++) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, work, NULL)) exit(1);
    }
}

static void run(long count, void (*body)(void *, long), void *context) {
    pool.body = body;
    pool.context = context;
    atomic_store(&pool.count, count);
    atomic_store(&pool.next, 0);
    atomic_store(&pool.done, 0);
    pthread_mutex_lock(&pool.mutex);
    atomic_fetch_add(&pool.loop, 1);
    pthread_cond_broadcast(&pool.wake);
    pthread_mutex_unlock(&pool.mutex);
    take_pieces();
    for (long spins = 0; atomic_load(&pool.done) < pool.threads - 1; spins++) {
        kernels_pause();
        if (spins > 2000) sched_yield();
    }
}

// MARK: Ours

enum kind { F32, BF16, INT8, W8A8, ONEDNN_F32, ONEDNN_BF16, KINDS };
static const char *const kind_names[KINDS] = {"f32", "bf16", "int8 weights", "w8a8", "oneDNN f32", "oneDNN bf16"};

struct job {
    enum kind kind;
    long rows, inner, columns;
    const struct kernels *kernels;
    const float *a;          // (rows, inner)
    float *c;                // (rows, columns)
    char *weights;           // copies, one behind the other
    long copy_bytes, copies, turn;
    float *scale;
    char *prepared;
    long prepared_stride;
    void (*prepare)(const float *, void *, long);
#if defined(HAS_ONEDNN)
    dnnl_primitive_t primitive;
    dnnl_memory_t source, target, *packed;
    dnnl_stream_t stream;
#endif
};

static void prepare_rows(void *context, long piece) {
    const struct job *job = context;
    for (long row = 8 * piece; row < job->rows && row < 8 * piece + 8; row++)
        job->prepare(job->a + row * job->inner, job->prepared + row * job->prepared_stride, job->inner);
}

// As LanguageModel's Kernels.product splits it.
static long chunk_panels(const struct job *job) {
    const long panels = job->columns / 16, wanted = panels / (4 * pool.threads) / 4 * 4;
    return wanted < 1 ? 1 : wanted > KERNELS_MATMUL_PANELS ? KERNELS_MATMUL_PANELS : wanted;
}

static long row_chunks(const struct job *job) { return (job->rows + KERNELS_MATMUL_ROWS - 1) / KERNELS_MATMUL_ROWS; }

static void multiply(void *context, long piece) {
    const struct job *job = context;
    const long chunk = chunk_panels(job), panels = job->columns / 16, panel_bytes = job->copy_bytes / panels;
    const long row = piece % row_chunks(job) * KERNELS_MATMUL_ROWS, panel = piece / row_chunks(job) * chunk;
    const char *a = job->prepare ? job->prepared : (const char *)job->a;
    const long a_stride = job->prepare ? job->prepared_stride : 4 * job->inner;
    const struct matmul call = {
        .a = a + row * a_stride,
        .a_stride = a_stride,
        .w = job->weights + job->turn * job->copy_bytes + panel * panel_bytes,
        .panel_stride = panel_bytes,
        .scale = job->scale ? job->scale + 16 * panel : NULL,
        .c = job->c + row * job->columns + 16 * panel,
        .c_stride = job->columns,
        .rows = job->rows - row < KERNELS_MATMUL_ROWS ? job->rows - row : KERNELS_MATMUL_ROWS,
        .inner = job->inner,
        .panels = panels - panel < chunk ? panels - panel : chunk,
    };
    switch (job->kind) {
    case F32: job->kernels->matmul_f32(&call); break;
    case BF16: job->kernels->matmul_bf16(&call); break;
    case INT8: job->kernels->matmul_int8(&call); break;
    default: job->kernels->matmul_w8a8(&call);
    }
}

static void pack(struct job *job, const float *weights) {
    const long panels = job->columns / 16;
    switch (job->kind) {
    case F32: kernels_pack_f32(weights, KERNELS_F32, false, job->inner, job->columns, job->inner, 0, panels, (float *)job->weights); break;
    case BF16: kernels_pack_bf16(weights, KERNELS_F32, false, job->inner, job->columns, job->inner, 0, panels, (uint16_t *)job->weights); break;
    default:
        job->scale = malloc((size_t)job->columns * sizeof(float));
        kernels_pack_int8(weights, KERNELS_F32, false, job->inner, job->columns, job->inner, 0, panels, (int8_t *)job->weights, job->scale);
    }
}

static void open_ours(struct job *job, const float *weights) {
    job->copy_bytes = job->inner * job->columns * (job->kind == F32 ? 4 : job->kind == BF16 ? 2 : 1);
    job->copies = cold_bytes / job->copy_bytes + 1;
    job->weights = allocate((size_t)(job->copies * job->copy_bytes));
    pack(job, weights);
    for (long i = 1; i < job->copies; i++) memcpy(job->weights + i * job->copy_bytes, job->weights, (size_t)job->copy_bytes);
    long (*bytes)(long) = NULL;
    if (job->kind == BF16) {
        job->prepare = job->kernels->prepare_bf16;
        bytes = job->kernels->prepared_bf16_bytes;
    } else if (job->kind == W8A8) {
        job->prepare = job->kernels->prepare_int8;
        bytes = job->kernels->prepared_int8_bytes;
    }
    if (!job->prepare) return;
    job->prepared_stride = bytes(job->inner);
    job->prepared = allocate((size_t)(job->rows * job->prepared_stride));
}

// MARK: oneDNN

#if defined(HAS_ONEDNN)
static dnnl_engine_t engine;

static void check(dnnl_status_t status, const char *what) {
    if (status == dnnl_success) return;
    fprintf(stderr, "oneDNN: %s: status %d\n", what, status);
    exit(1);
}

static dnnl_memory_desc_t describe(long rows, long columns, dnnl_data_type_t type, dnnl_format_tag_t tag) {
    dnnl_memory_desc_t description;
    const dnnl_dims_t sizes = {rows, columns};
    check(dnnl_memory_desc_init_by_tag(&description, 2, sizes, type, tag), "a shape");
    return description;
}

static void open_onednn(struct job *job, const float *weights) {
    const dnnl_data_type_t type = job->kind == ONEDNN_BF16 ? dnnl_bf16 : dnnl_f32;
    const dnnl_memory_desc_t a = describe(job->rows, job->inner, type, dnnl_ab);
    const dnnl_memory_desc_t any = describe(job->columns, job->inner, type, dnnl_format_tag_any);
    const dnnl_memory_desc_t c = describe(job->rows, job->columns, dnnl_f32, dnnl_ab);
    dnnl_inner_product_desc_t product;
    dnnl_primitive_desc_t choice;
    check(dnnl_inner_product_forward_desc_init(&product, dnnl_forward_inference, &a, &any, NULL, &c), "a product");
    check(dnnl_primitive_desc_create(&choice, &product, NULL, engine, NULL), "a product for this CPU");
    check(dnnl_primitive_create(&job->primitive, choice), "a primitive");
    const dnnl_memory_desc_t *packed = dnnl_primitive_desc_query_md(choice, dnnl_query_weights_md, 0);
    check(dnnl_stream_create(&job->stream, engine, dnnl_stream_default_flags), "a stream");

    job->copy_bytes = (long)dnnl_memory_desc_get_size(packed);
    job->copies = cold_bytes / job->copy_bytes + 1;
    job->weights = allocate((size_t)(job->copies * job->copy_bytes));
    job->packed = calloc((size_t)job->copies, sizeof *job->packed);
    for (long i = 0; i < job->copies; i++)
        check(dnnl_memory_create(&job->packed[i], packed, engine, job->weights + i * job->copy_bytes), "weights");
    const dnnl_memory_desc_t stored = describe(job->columns, job->inner, dnnl_f32, dnnl_ab);
    const dnnl_memory_desc_t floats = describe(job->rows, job->inner, dnnl_f32, dnnl_ab);
    dnnl_memory_t from, to;
    dnnl_primitive_desc_t reorder_choice;
    dnnl_primitive_t reorder;
    const struct {
        const dnnl_memory_desc_t *from, *to;
        const float *values;
        char *target;
    } moves[2] = {{&stored, packed, weights, job->weights},
                  {&floats, &a, job->a, job->prepared = allocate((size_t)(job->rows * job->inner * 4))}};
    for (int i = 0; i < 2; i++) {
        check(dnnl_memory_create(&from, moves[i].from, engine, (void *)moves[i].values), "values");
        check(dnnl_memory_create(&to, moves[i].to, engine, moves[i].target), "values");
        check(dnnl_reorder_primitive_desc_create(&reorder_choice, moves[i].from, engine, moves[i].to, engine, NULL), "a reorder");
        check(dnnl_primitive_create(&reorder, reorder_choice), "a reorder");
        const dnnl_exec_arg_t arguments[2] = {{DNNL_ARG_FROM, from}, {DNNL_ARG_TO, to}};
        check(dnnl_primitive_execute(reorder, job->stream, 2, arguments), "a reorder");
        check(dnnl_stream_wait(job->stream), "a reorder");
    }
    for (long i = 1; i < job->copies; i++) memcpy(job->weights + i * job->copy_bytes, job->weights, (size_t)job->copy_bytes);
    check(dnnl_memory_create(&job->source, &a, engine, job->prepared), "activations");
    check(dnnl_memory_create(&job->target, &c, engine, job->c), "sums");
}

static void run_onednn(struct job *job) {
    const dnnl_exec_arg_t arguments[3] = {
        {DNNL_ARG_SRC, job->source}, {DNNL_ARG_WEIGHTS, job->packed[job->turn]}, {DNNL_ARG_DST, job->target}};
    check(dnnl_primitive_execute(job->primitive, job->stream, 3, arguments), "a product");
    check(dnnl_stream_wait(job->stream), "a product");
}
#endif

// Kinds that are measured: oneDNN emulates bf16, slowly, on CPUs without AVX-512.
static bool is_measured(enum kind kind) {
#if defined(HAS_ONEDNN)
    return kind != ONEDNN_BF16 || dnnl_get_effective_cpu_isa() >= dnnl_cpu_isa_avx512_core;
#else
    return kind < ONEDNN_F32;
#endif
}

static void run_once(struct job *job) {
    job->turn = (job->turn + 1) % job->copies;
#if defined(HAS_ONEDNN)
    if (job->kind >= ONEDNN_F32) {
        run_onednn(job);
        return;
    }
#endif
    if (job->prepare) run((job->rows + 7) / 8, prepare_rows, job);
    const long chunk = chunk_panels(job);
    run(row_chunks(job) * ((job->columns / 16 + chunk - 1) / chunk), multiply, job);
}

// Seconds of one product, over at least 20 ms.
static double measure(struct job *job) {
    const double start = now();
    double time = 0;
    long count = 0;
    while (time < 0.02) {
        run_once(job);
        count++;
        time = now() - start;
    }
    return time / (double)count;
}

static int order(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void compare(const struct kernels *kernels, long inner, long columns, long rows, long rounds) {
    float *a = (float *)allocate((size_t)(rows * inner * 4)), *weights = (float *)allocate((size_t)(columns * inner * 4));
    float *c = (float *)allocate((size_t)(rows * columns * 4));
    uint32_t state = 1;
    for (long i = 0; i < rows * inner; i++) a[i] = next_value(&state);
    for (long i = 0; i < columns * inner; i++) weights[i] = next_value(&state);
    const double work = 2e-9 * (double)rows * (double)inner * (double)columns;
    struct job jobs[KINDS];
    double median[KINDS] = {0}, times[KINDS][MOST_ROUNDS];
    for (enum kind kind = 0; kind < KINDS; kind++) {
        jobs[kind] = (struct job){.kind = kind, .rows = rows, .inner = inner, .columns = columns, .kernels = kernels, .a = a, .c = c};
        if (!is_measured(kind)) continue;
        if (kind < ONEDNN_F32) open_ours(&jobs[kind], weights);
#if defined(HAS_ONEDNN)
        else open_onednn(&jobs[kind], weights);
#endif
        run_once(&jobs[kind]);
    }
    for (long round = 0; round < rounds; round++)
        for (enum kind kind = 0; kind < KINDS; kind++)
            if (is_measured(kind)) times[kind][round] = measure(&jobs[kind]);
    printf("| %ld,%ld | %ld |", inner, columns, rows);
    for (enum kind kind = 0; kind < KINDS; kind++) {
        if (!is_measured(kind)) {
            printf(" - |");
            continue;
        }
        qsort(times[kind], (size_t)rounds, sizeof(double), order);
        median[kind] = times[kind][rounds / 2];
        printf(" %.1f (%.1f) |", work / median[kind], work / times[kind][0]);
        free(jobs[kind].weights);
        free(jobs[kind].prepared);
        free(jobs[kind].scale);
    }
    for (enum kind kind = F32; kind <= BF16; kind++) {
        const enum kind peer = kind == F32 ? ONEDNN_F32 : ONEDNN_BF16;
        if (is_measured(peer)) printf(" %.2f |", median[peer] / median[kind]);
        else printf(" - |");
    }
    printf(" %.2f |\n", median[BF16] / median[W8A8]);
    fflush(stdout);
    free(a);
    free(weights);
    free(c);
}

int main(int count, char **arguments) {
    int first_rows = 5;
    while (first_rows < count && strcmp(arguments[first_rows], "--")) first_rows++;
    if (first_rows + 1 >= count) {
        fprintf(stderr, "matmul THREADS ROUNDS MAX_GFLOP COLD_MB INNERxCOLUMNS... -- ROWS...\n");
        return 2;
    }
    const struct kernels *variants[8];
    kernels_available(variants, 8);
    long rounds = atol(arguments[2]);
    rounds = rounds < 1 ? 1 : rounds > MOST_ROUNDS ? MOST_ROUNDS : rounds;
    cold_bytes = atol(arguments[4]) << 20;
    start_threads(atol(arguments[1]));
    if (pool.threads == 1) measuring_clock = CLOCK_PROCESS_CPUTIME_ID;
#if defined(HAS_ONEDNN)
    check(dnnl_engine_create(&engine, dnnl_cpu, 0), "an engine");
    const dnnl_version_t *version = dnnl_version();
    printf("oneDNN %d.%d.%d. ", version->major, version->minor, version->patch);
#endif
    printf("Kernels: %s, %ld threads, median (best) of %ld rounds, GFLOP/s.\n\n", variants[0]->name, pool.threads, rounds);
    printf("| inner,columns | rows |");
    for (enum kind kind = 0; kind < KINDS; kind++) printf(" %s |", kind_names[kind]);
    printf(" f32 / oneDNN | bf16 / oneDNN | w8a8 / bf16 |\n|---|---|");
    for (int kind = 0; kind < KINDS + 3; kind++) printf("---|");
    printf("\n");
    for (int shape = 5; shape < first_rows; shape++)
        for (int i = first_rows + 1; i < count; i++) {
            long inner, columns;
            if (sscanf(arguments[shape], "%ldx%ld", &inner, &columns) != 2 || inner % 4 || columns % 16) return 2;
            const long rows = atol(arguments[i]);
            if (2e-9 * (double)rows * (double)inner * (double)columns <= atof(arguments[3]))
                compare(variants[0], inner, columns, rows, rounds);
        }
    return 0;
}
