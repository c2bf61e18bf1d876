/* avx512.c - sixteen floats at a time: AVX-512 F, BW, DQ and VL (Skylake-SP, Zen 4). */
#include "kern/kern.h"
#include "kern/loop.h"

#ifdef __x86_64__
#include <immintrin.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>

typedef __m512 vec;
enum { W = 16, MR = 14, NV = 2 }; /* 28 sums, 2 of w, 1 of x: 31 of 32 registers */

static inline vec v_set(float f)
{
    return _mm512_set1_ps(f);
}

static inline vec v_load(const float *p)
{
    return _mm512_loadu_ps(p);
}

static inline __mmask16 lanes_below(size_t n)
{
    return (__mmask16)((1u << n) - 1);
}

static inline vec v_load_or(const void *p, size_t n, float fill)
{
    return _mm512_mask_loadu_ps(v_set(fill), lanes_below(n), p);
}

static inline void v_store(float *p, vec v)
{
    _mm512_storeu_ps(p, v);
}

static inline void v_store_n(float *p, vec v, size_t n)
{
    _mm512_mask_storeu_ps(p, lanes_below(n), v);
}

static inline vec v_load_f16(const void *p)
{
    return _mm512_cvtph_ps(_mm256_loadu_si256(p));
}

static inline vec v_load_f16_n(const void *p, size_t n)
{
    return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(lanes_below(n), p));
}

static inline vec widen_halves(__m256i h)
{
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(h), 16));
}

static inline vec v_load_bf16(const void *p)
{
    return widen_halves(_mm256_loadu_si256(p));
}

static inline vec v_load_bf16_n(const void *p, size_t n)
{
    return widen_halves(_mm256_maskz_loadu_epi16(lanes_below(n), p));
}

static inline vec v_fma(vec a, vec b, vec c)
{
    return _mm512_fmadd_ps(a, b, c);
}

static inline vec v_add(vec a, vec b)
{
    return _mm512_add_ps(a, b);
}

static inline vec v_sub(vec a, vec b)
{
    return _mm512_sub_ps(a, b);
}

static inline vec v_mul(vec a, vec b)
{
    return _mm512_mul_ps(a, b);
}

static inline vec v_div(vec a, vec b)
{
    return _mm512_div_ps(a, b);
}

static inline vec v_max(vec a, vec b) /* b if either is NaN */
{
    return _mm512_max_ps(a, b);
}

static inline vec v_min(vec a, vec b) /* b if either is NaN */
{
    return _mm512_min_ps(a, b);
}

static inline vec v_abs(vec a)
{
    return _mm512_abs_ps(a);
}

static inline vec v_copysign(vec a, vec sign)
{
    vec bit = v_set(-0.0f);
    return _mm512_or_ps(_mm512_andnot_ps(bit, a), _mm512_and_ps(bit, sign));
}

static inline vec v_if_lt(vec a, vec b, vec then, vec otherwise)
{
    return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(a, b, _CMP_LT_OQ), otherwise, then);
}

static inline vec v_round(vec a)
{
    return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}

static inline vec v_pow2(vec n) /* n whole, -126..127 */
{
    __m512i e = _mm512_add_epi32(_mm512_cvtps_epi32(n), _mm512_set1_epi32(127));
    return _mm512_castsi512_ps(_mm512_slli_epi32(e, 23));
}

static inline float v_sum(vec v)
{
    __m256 h = _mm256_add_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1));
    __m128 a = _mm_add_ps(_mm256_castps256_ps128(h), _mm256_extractf128_ps(h, 1));
    a = _mm_add_ps(a, _mm_movehl_ps(a, a));
    return _mm_cvtss_f32(_mm_add_ss(a, _mm_shuffle_ps(a, a, 1)));
}

static inline float v_top(vec v)
{
    return _mm512_reduce_max_ps(v);
}

/* Rows become columns: pairs, fours, then quarters of registers change places. */
static inline void v_transpose(vec v[W])
{
    vec a[W];
    UNROLL
    for (int i = 0; i < W; i += 2) {
        a[i] = _mm512_unpacklo_ps(v[i], v[i + 1]);
        a[i + 1] = _mm512_unpackhi_ps(v[i], v[i + 1]);
    }
    UNROLL
    for (int i = 0; i < W; i += 4) {
        v[i] = _mm512_shuffle_ps(a[i], a[i + 2], 0x44);
        v[i + 1] = _mm512_shuffle_ps(a[i], a[i + 2], 0xee);
        v[i + 2] = _mm512_shuffle_ps(a[i + 1], a[i + 3], 0x44);
        v[i + 3] = _mm512_shuffle_ps(a[i + 1], a[i + 3], 0xee);
    }
    UNROLL
    for (int i = 0; i < 4; i++) {
        vec q = _mm512_shuffle_f32x4(v[i], v[i + 4], 0x88);
        vec r = _mm512_shuffle_f32x4(v[i + 8], v[i + 12], 0x88);
        vec s = _mm512_shuffle_f32x4(v[i], v[i + 4], 0xdd);
        vec t = _mm512_shuffle_f32x4(v[i + 8], v[i + 12], 0xdd);
        v[i] = _mm512_shuffle_f32x4(q, r, 0x88);
        v[i + 8] = _mm512_shuffle_f32x4(q, r, 0xdd);
        v[i + 4] = _mm512_shuffle_f32x4(s, t, 0x88);
        v[i + 12] = _mm512_shuffle_f32x4(s, t, 0xdd);
    }
}

#include "kern/body.inc"

const struct kern kern_avx512 = KERN_TABLE("avx512");
#endif
