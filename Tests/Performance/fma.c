// What the machine's multipliers can do in a register loop, on every thread at once: fused multiply-adds of f32, and dot
// products of bf16 where there is AVX512_BF16.
//
//     fma THREADS [SECONDS]
//
// Prints GFLOP/s of all threads together, the best of five rounds: the limits that f32 and bf16 arithmetic cannot exceed
// here. Without products of bf16 both are the same.
#define _GNU_SOURCE
#include <immintrin.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define MOST_THREADS 1024
// Two units of four cycles' latency need eight sums under way; twelve leave slack.
#define SUMS 12
#define TURNS 1000000

static volatile float sink;

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

// The multiplication keeps the sums near 1, so that none becomes subnormal or infinite.
#define LOOP(name, isa, vector, set1, fmadd, store)                                                  \
    __attribute__((target(isa))) static void name(void) {                                            \
        vector sums[SUMS], factor = set1(0.999f), term = set1(0.001f);                               \
        for (int i = 0; i < SUMS; i++) sums[i] = set1((float)i);                                     \
        for (long turn = 0; turn < TURNS; turn++) {                                                  \
            _Pragma("clang loop unroll(full)") for (int i = 0; i < SUMS; i++) {                      \
                sums[i] = fmadd(sums[i], factor, term);                                              \
                __asm__ volatile("" : "+x"(sums[i]));                                                \
            }                                                                                        \
        }                                                                                            \
        float lanes[sizeof(vector) / 4];                                                             \
        for (int i = 0; i < SUMS; i++) {                                                             \
            store(lanes, sums[i]);                                                                   \
            sink = lanes[0];                                                                         \
        }                                                                                            \
    }

LOOP(eight_lanes, "avx2,fma", __m256, _mm256_set1_ps, _mm256_fmadd_ps, _mm256_storeu_ps)
LOOP(sixteen_lanes, "avx512f", __m512, _mm512_set1_ps, _mm512_fmadd_ps, _mm512_storeu_ps)

// Halves of 0.5: each sum grows by 0.5 a turn, far from where floats end.
__attribute__((target("avx512f,avx512bf16"))) static void pairs(void) {
    __m512 sums[SUMS];
    const __m512bh factor = (__m512bh)_mm512_set1_epi32(0x3f003f00);
    for (int i = 0; i < SUMS; i++) sums[i] = _mm512_set1_ps((float)i);
    for (long turn = 0; turn < TURNS; turn++) {
        _Pragma("clang loop unroll(full)") for (int i = 0; i < SUMS; i++) {
            sums[i] = _mm512_dpbf16_ps(sums[i], factor, factor);
            __asm__ volatile("" : "+x"(sums[i]));
        }
    }
    float lanes[16];
    for (int i = 0; i < SUMS; i++) {
        _mm512_storeu_ps(lanes, sums[i]);
        sink = lanes[0];
    }
}

static void (*loop)(void);
static double lanes, seconds;
static pthread_barrier_t barrier;

static void *work(void *result) {
    pthread_barrier_wait(&barrier);
    const double start = now();
    double turns = 0;
    for (; now() - start < seconds; turns += TURNS) loop();
    *(double *)result = 2e-9 * SUMS * lanes * turns / (now() - start);
    return NULL;
}

static double best_of_five(long threads) {
    double best = 0;
    for (int round = 0; round < 5; round++) {
        static pthread_t ids[MOST_THREADS];
        static double rates[MOST_THREADS];
        pthread_barrier_init(&barrier, NULL, (unsigned)threads);
        for (long t = 0; t < threads; t++)
            if (pthread_create(&ids[t], NULL, work, &rates[t])) exit(1);
        double sum = 0;
        for (long t = 0; t < threads; t++) {
            pthread_join(ids[t], NULL);
            sum += rates[t];
        }
        pthread_barrier_destroy(&barrier);
        if (sum > best) best = sum;
    }
    return best;
}

int main(int count, char **arguments) {
    const long threads = count > 1 ? atol(arguments[1]) : 0;
    seconds = count > 2 ? atof(arguments[2]) : 0.5;
    if (threads < 1 || threads > MOST_THREADS) {
        fprintf(stderr, "fma THREADS [SECONDS]\n");
        return 2;
    }
    __builtin_cpu_init();
    const int wide = __builtin_cpu_supports("avx512f");
    if (!wide && !__builtin_cpu_supports("fma")) {
        fprintf(stderr, "this CPU has no fused multiply-add\n");
        return 1;
    }
    loop = wide ? sixteen_lanes : eight_lanes;
    lanes = wide ? 16 : 8;
    const double f32 = best_of_five(threads);
    double bf16 = 0;
    if (wide && __builtin_cpu_supports("avx512bf16")) {
        loop = pairs;
        lanes = 32;
        bf16 = best_of_five(threads);
    }
    printf("%.1f %.1f\n", f32, bf16 > f32 ? bf16 : f32);
    return 0;
}
