// Which variants this CPU has.
#include "kernels.h"

extern const struct kernels kernels_plain;
#if defined(__x86_64__)
extern const struct kernels kernels_avx2, kernels_avx512, kernels_avx512bf16, kernels_amx;
#elif defined(__aarch64__)
extern const struct kernels kernels_neon;
#endif

#if defined(__x86_64__)
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>

// Linux saves tiles only for processes that ask: ARCH_REQ_XCOMP_PERM for the state component 18.
static bool may_use_tiles(void) { return syscall(SYS_arch_prctl, 0x1023, 18) == 0; }
#else
static bool may_use_tiles(void) { return false; }
#endif
#endif

long kernels_available(const struct kernels **variants, long capacity) {
    long count = 0;
#if defined(__x86_64__)
    __builtin_cpu_init();
    const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
    const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw")
        && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq")
        && __builtin_cpu_supports("avx512vnni");
    const bool amx = avx512 && __builtin_cpu_supports("amx-tile") && __builtin_cpu_supports("amx-bf16")
        && __builtin_cpu_supports("amx-int8") && may_use_tiles();
    // Intel's dot product of bf16 is half as fast as its fused multiply-adds, AMD's twice as fast.
    const bool bf16 = avx512 && __builtin_cpu_supports("avx512bf16") && __builtin_cpu_is("amd");
    if (amx && count < capacity) variants[count++] = &kernels_amx;
    if (bf16 && count < capacity) variants[count++] = &kernels_avx512bf16;
    if (avx512 && count < capacity) variants[count++] = &kernels_avx512;
    if (avx2 && count < capacity) variants[count++] = &kernels_avx2;
#elif defined(__aarch64__)
    if (count < capacity) variants[count++] = &kernels_neon;
#endif
    if (count < capacity) variants[count++] = &kernels_plain;
    return count;
}
