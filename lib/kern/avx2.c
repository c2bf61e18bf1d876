/* avx2.c - eight floats at a time: AVX2, FMA and F16C (Haswell and Zen, 2013-2017, and all
 * since). */
#include "kern/kern.h"
#include "kern/loop.h"

#ifdef __x86_64__
#include <immintrin.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

typedef __m256 vec;
enum { W = 8, MR = 6, NV = 2 }; /* 12 sums, 2 of w, 1 of x: 15 of 16 registers */

static inline vec v_set(float f)
{
    return _mm256_set1_ps(f);
}

static inline vec v_load(const float *p)
{
    return _mm256_loadu_ps(p);
}

static inline __m256i lanes_below(size_t n)
{
    static const int32_t ones[16] = { -1, -1, -1, -1, -1, -1, -1, -1 };
    return _mm256_loadu_si256((const __m256i *)(ones + 8 - n));
}

static inline vec v_load_or(const void *p, size_t n, float fill)
{
    if (n == W)
        return v_load(p);
    __m256i mask = lanes_below(n);
    return _mm256_blendv_ps(v_set(fill), _mm256_maskload_ps(p, mask),
                            _mm256_castsi256_ps(mask));
}

static inline void v_store(float *p, vec v)
{
    _mm256_storeu_ps(p, v);
}

static inline void v_store_n(float *p, vec v, size_t n)
{
    if (n == W)
        v_store(p, v);
    else
        _mm256_maskstore_ps(p, lanes_below(n), v);
}

static inline __m128i halves(const void *p, size_t n)
{
    uint16_t h[8] = { 0 };
    memcpy(h, p, 2 * n);
    return _mm_loadu_si128((const __m128i *)h);
}

static inline vec v_load_f16(const void *p)
{
    return _mm256_cvtph_ps(_mm_loadu_si128(p));
}

static inline vec v_load_f16_n(const void *p, size_t n)
{
    return _mm256_cvtph_ps(halves(p, n));
}

static inline vec widen_halves(__m128i h)
{
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(h), 16));
}

static inline vec v_load_bf16(const void *p)
{
    return widen_halves(_mm_loadu_si128(p));
}

static inline vec v_load_bf16_n(const void *p, size_t n)
{
    return widen_halves(halves(p, n));
}

static inline vec v_fma(vec a, vec b, vec c)
{
    return _mm256_fmadd_ps(a, b, c);
}

static inline vec v_add(vec a, vec b)
{
    return _mm256_add_ps(a, b);
}

static inline vec v_sub(vec a, vec b)
{
    return _mm256_sub_ps(a, b);
}

static inline vec v_mul(vec a, vec b)
{
    return _mm256_mul_ps(a, b);
}

static inline vec v_div(vec a, vec b)
{
    return _mm256_div_ps(a, b);
}

static inline vec v_max(vec a, vec b) /* b if either is NaN */
{
    return _mm256_max_ps(a, b);
}

static inline vec v_min(vec a, vec b) /* b if either is NaN */
{
    return _mm256_min_ps(a, b);
}

static inline vec v_abs(vec a)
{
    return _mm256_andnot_ps(v_set(-0.0f), a);
}

static inline vec v_copysign(vec a, vec sign)
{
    vec bit = v_set(-0.0f);
    return _mm256_or_ps(_mm256_andnot_ps(bit, a), _mm256_and_ps(bit, sign));
}

static inline vec v_if_lt(vec a, vec b, vec then, vec otherwise)
{
    return _mm256_blendv_ps(otherwise, then, _mm256_cmp_ps(a, b, _CMP_LT_OQ));
}

static inline vec v_round(vec a)
{
    return _mm256_round_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}

static inline vec v_pow2(vec n) /* n whole, -126..127 */
{
    __m256i e = _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127));
    return _mm256_castsi256_ps(_mm256_slli_epi32(e, 23));
}

static inline float v_sum(vec v)
{
    __m128 a = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    a = _mm_add_ps(a, _mm_movehl_ps(a, a));
    return _mm_cvtss_f32(_mm_add_ss(a, _mm_shuffle_ps(a, a, 1)));
}

static inline float v_top(vec v)
{
    __m128 a = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    a = _mm_max_ps(a, _mm_movehl_ps(a, a));
    return _mm_cvtss_f32(_mm_max_ss(a, _mm_shuffle_ps(a, a, 1)));
}

/* Rows become columns: pairs, fours, then halves of registers change places. */
static inline void v_transpose(vec v[W])
{
    vec a[W];
    UNROLL
    for (int i = 0; i < W; i += 2) {
        a[i] = _mm256_unpacklo_ps(v[i], v[i + 1]);
        a[i + 1] = _mm256_unpackhi_ps(v[i], v[i + 1]);
    }
    UNROLL
    for (int i = 0; i < W; i += 4) {
        v[i] = _mm256_shuffle_ps(a[i], a[i + 2], 0x44);
        v[i + 1] = _mm256_shuffle_ps(a[i], a[i + 2], 0xee);
        v[i + 2] = _mm256_shuffle_ps(a[i + 1], a[i + 3], 0x44);
        v[i + 3] = _mm256_shuffle_ps(a[i + 1], a[i + 3], 0xee);
    }
    UNROLL
    for (int i = 0; i < 4; i++) {
        vec low = v[i], high = v[i + 4];
        v[i] = _mm256_permute2f128_ps(low, high, 0x20);
        v[i + 4] = _mm256_permute2f128_ps(low, high, 0x31);
    }
}

#include "kern/body.inc"

const struct kern kern_avx2 = KERN_TABLE("avx2");
#endif
