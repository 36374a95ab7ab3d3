/* Vectors of doubles for the kernels: V of WIDTH lanes, and masks M of as many. VARIANT says of which instructions. */
#define LANE static inline __attribute__((always_inline))

#if VARIANT == 512
#include <immintrin.h>
#define WIDTH 8
typedef __m512d V;
typedef __mmask8 M;
LANE V v_set(double a) { return _mm512_set1_pd(a); }
LANE V v_load(const double *p) { return _mm512_loadu_pd(p); }
LANE void v_store(double *p, V a) { _mm512_storeu_pd(p, a); }
LANE V v_add(V a, V b) { return _mm512_add_pd(a, b); }
LANE V v_sub(V a, V b) { return _mm512_sub_pd(a, b); }
LANE V v_mul(V a, V b) { return _mm512_mul_pd(a, b); }
LANE V v_div(V a, V b) { return _mm512_div_pd(a, b); }
LANE V v_fma(V a, V b, V c) { return _mm512_fmadd_pd(a, b, c); }
LANE V v_fnma(V a, V b, V c) { return _mm512_fnmadd_pd(a, b, c); }
LANE M v_less(V a, V b) { return _mm512_cmp_pd_mask(a, b, _CMP_LT_OQ); }
LANE M v_missing(V a) { return _mm512_cmp_pd_mask(a, a, _CMP_UNORD_Q); }
LANE M m_bits(unsigned bits) { return (M)bits; }
LANE M m_and(M a, M b) { return a & b; }
LANE M m_or(M a, M b) { return a | b; }
LANE M m_andnot(M a, M b) { return (M)(~a & b); }
LANE V v_select(M m, V a, V b) { return _mm512_mask_blend_pd(m, b, a); }
LANE V v_keep(M m, V a) { return _mm512_maskz_mov_pd(m, a); }
LANE V v_add_where(V a, M m, V b) { return _mm512_mask_add_pd(a, m, a, b); }
LANE double v_sum(V a) { return _mm512_reduce_add_pd(a); }

#elif VARIANT == 256
#include <immintrin.h>
#define WIDTH 4
typedef __m256d V;
typedef __m256d M;
LANE V v_set(double a) { return _mm256_set1_pd(a); }
LANE V v_load(const double *p) { return _mm256_loadu_pd(p); }
LANE void v_store(double *p, V a) { _mm256_storeu_pd(p, a); }
LANE V v_add(V a, V b) { return _mm256_add_pd(a, b); }
LANE V v_sub(V a, V b) { return _mm256_sub_pd(a, b); }
LANE V v_mul(V a, V b) { return _mm256_mul_pd(a, b); }
LANE V v_div(V a, V b) { return _mm256_div_pd(a, b); }
LANE V v_fma(V a, V b, V c) { return _mm256_fmadd_pd(a, b, c); }
LANE V v_fnma(V a, V b, V c) { return _mm256_fnmadd_pd(a, b, c); }
LANE M v_less(V a, V b) { return _mm256_cmp_pd(a, b, _CMP_LT_OQ); }
LANE M v_missing(V a) { return _mm256_cmp_pd(a, a, _CMP_UNORD_Q); }
LANE M m_bits(unsigned bits) {
    __m256i lanes = _mm256_and_si256(_mm256_set1_epi64x(bits), _mm256_set_epi64x(8, 4, 2, 1));
    return _mm256_castsi256_pd(_mm256_cmpgt_epi64(lanes, _mm256_setzero_si256()));
}
LANE M m_and(M a, M b) { return _mm256_and_pd(a, b); }
LANE M m_or(M a, M b) { return _mm256_or_pd(a, b); }
LANE M m_andnot(M a, M b) { return _mm256_andnot_pd(a, b); }
LANE V v_select(M m, V a, V b) { return _mm256_blendv_pd(b, a, m); }
LANE V v_keep(M m, V a) { return _mm256_and_pd(m, a); }
LANE V v_add_where(V a, M m, V b) { return _mm256_add_pd(a, _mm256_and_pd(m, b)); }
LANE double v_sum(V a) {
    __m128d half = _mm_add_pd(_mm256_castpd256_pd128(a), _mm256_extractf128_pd(a, 1));
    return _mm_cvtsd_f64(_mm_add_sd(half, _mm_unpackhi_pd(half, half)));
}

#elif defined __x86_64__
#include <emmintrin.h>
#define WIDTH 2
typedef __m128d V;
typedef __m128d M;
LANE V v_set(double a) { return _mm_set1_pd(a); }
LANE V v_load(const double *p) { return _mm_loadu_pd(p); }
LANE void v_store(double *p, V a) { _mm_storeu_pd(p, a); }
LANE V v_add(V a, V b) { return _mm_add_pd(a, b); }
LANE V v_sub(V a, V b) { return _mm_sub_pd(a, b); }
LANE V v_mul(V a, V b) { return _mm_mul_pd(a, b); }
LANE V v_div(V a, V b) { return _mm_div_pd(a, b); }
LANE V v_fma(V a, V b, V c) { return _mm_add_pd(_mm_mul_pd(a, b), c); }
LANE V v_fnma(V a, V b, V c) { return _mm_sub_pd(c, _mm_mul_pd(a, b)); }
LANE M v_less(V a, V b) { return _mm_cmplt_pd(a, b); }
LANE M v_missing(V a) { return _mm_cmpunord_pd(a, a); }
LANE M m_bits(unsigned bits) {
    return _mm_castsi128_pd(_mm_set_epi64x(-(int64_t)(bits >> 1 & 1), -(int64_t)(bits & 1)));
}
LANE M m_and(M a, M b) { return _mm_and_pd(a, b); }
LANE M m_or(M a, M b) { return _mm_or_pd(a, b); }
LANE M m_andnot(M a, M b) { return _mm_andnot_pd(a, b); }
LANE V v_select(M m, V a, V b) { return _mm_or_pd(_mm_and_pd(m, a), _mm_andnot_pd(m, b)); }
LANE V v_keep(M m, V a) { return _mm_and_pd(m, a); }
LANE V v_add_where(V a, M m, V b) { return _mm_add_pd(a, _mm_and_pd(m, b)); }
LANE double v_sum(V a) { return _mm_cvtsd_f64(_mm_add_sd(a, _mm_unpackhi_pd(a, a))); }

#elif defined __aarch64__
#include <arm_neon.h>
#define WIDTH 2
typedef float64x2_t V;
typedef uint64x2_t M;
LANE V v_set(double a) { return vdupq_n_f64(a); }
LANE V v_load(const double *p) { return vld1q_f64(p); }
LANE void v_store(double *p, V a) { vst1q_f64(p, a); }
LANE V v_add(V a, V b) { return vaddq_f64(a, b); }
LANE V v_sub(V a, V b) { return vsubq_f64(a, b); }
LANE V v_mul(V a, V b) { return vmulq_f64(a, b); }
LANE V v_div(V a, V b) { return vdivq_f64(a, b); }
LANE V v_fma(V a, V b, V c) { return vfmaq_f64(c, a, b); }
LANE V v_fnma(V a, V b, V c) { return vfmsq_f64(c, a, b); }
LANE M v_less(V a, V b) { return vcltq_f64(a, b); }
LANE M v_missing(V a) { return veorq_u64(vceqq_f64(a, a), vdupq_n_u64(~0ull)); }
LANE M m_bits(unsigned bits) {
    uint64_t lanes[2] = {0 - (uint64_t)(bits & 1), 0 - (uint64_t)(bits >> 1 & 1)};
    return vld1q_u64(lanes);
}
LANE M m_and(M a, M b) { return vandq_u64(a, b); }
LANE M m_or(M a, M b) { return vorrq_u64(a, b); }
LANE M m_andnot(M a, M b) { return vbicq_u64(b, a); }
LANE V v_select(M m, V a, V b) { return vbslq_f64(m, a, b); }
LANE V v_keep(M m, V a) { return vreinterpretq_f64_u64(vandq_u64(m, vreinterpretq_u64_f64(a))); }
LANE V v_add_where(V a, M m, V b) { return vaddq_f64(a, v_keep(m, b)); }
LANE double v_sum(V a) { return vaddvq_f64(a); }
#else
#error "no vectors are known for this machine"
#endif
