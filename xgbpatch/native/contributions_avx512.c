/* SHAP values with AVX-512 (F, DQ, BW, VL); runs where trees.c has seen them. */
#ifdef __x86_64__
#define VARIANT 512
#define KERNEL xgbpatch_avx512
#include <immintrin.h> /* not inside the attribute: its functions have their own */
#include <stdlib.h>
#include <string.h>

#include "trees.h"
#pragma clang attribute push(__attribute__((target("avx512f,avx512dq,avx512bw,avx512vl,avx2,fma,bmi,bmi2"))), \
                             apply_to = function)
#include "contributions.h"
#pragma clang attribute pop
#endif
