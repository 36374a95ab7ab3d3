/* The kernels for SHAP values, and which of them this machine can run: 0 baseline, 1 AVX2, 2 AVX-512. */
#include "library.h"
#include "trees.h"

#ifdef __x86_64__
#include <cpuid.h>

static uint64_t enabled_state(void) {
    uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (uint64_t)high << 32 | low;
}

static int newest_kernel(void) {
    uint32_t a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d)) return 0;
    const uint32_t fma = 1u << 12, osxsave = 1u << 27, avx = 1u << 28;
    if ((c & (fma | osxsave | avx)) != (fma | osxsave | avx) || (enabled_state() & 0x6) != 0x6) return 0;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return 0;
    const uint32_t avx2 = 1u << 5, bmi = 1u << 3 | 1u << 8, avx512 = 1u << 16 | 1u << 17 | 1u << 30 | 1u << 31;
    if ((b & (avx2 | bmi)) != (avx2 | bmi)) return 0;
    return (b & avx512) == avx512 && (enabled_state() & 0xe6) == 0xe6 ? 2 : 1;
}

static const Kernel *kernel(int32_t number) {
    return number == 2 ? &xgbpatch_avx512 : number == 1 ? &xgbpatch_avx2 : &xgbpatch_baseline;
}
#else
static int newest_kernel(void) { return 0; }
static const Kernel *kernel(int32_t number) {
    (void)number;
    return &xgbpatch_baseline;
}
#endif

/* How many of the kernels, from 0 on, this machine can run. */
EXPORT int32_t xgbpatch_kernels(void) { return newest_kernel() + 1; }

/* Rows that a kernel takes side by side. */
EXPORT int32_t xgbpatch_kernel_width(int32_t number) { return kernel(number)->width; }

EXPORT int32_t xgbpatch_contributions(const Forest *f, int32_t number, const float *rows, int64_t n, double *values) {
    return kernel(number)->contributions(f, rows, n, values);
}

/* The same, one row after the other. */
EXPORT int32_t xgbpatch_contributions_of_rows(const Forest *f, int32_t number, const float *rows, int64_t n,
                                              double *values) {
    int32_t failed = 0;
    const size_t size = (size_t)f->outputs * ((size_t)f->features + 1);
    for (int64_t i = 0; i < n && !failed; i++)
        failed = kernel(number)->contributions_of_row(f, rows + i * f->features, values + (size_t)i * size);
    return failed;
}

EXPORT int32_t xgbpatch_interactions(const Forest *f, int32_t number, const float *rows, int64_t n, double *values) {
    return kernel(number)->interactions(f, rows, n, values);
}
