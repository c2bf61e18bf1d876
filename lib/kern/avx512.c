/* avx512.c - sixteen floats at a time: AVX-512 F, BW, DQ and VL (Skylake-SP, Zen 4). */
#include "kern/kern.h"
#include "kern/loop.h"

#ifdef __x86_64__
#include <immintrin.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "kern/vec16.inc"

#include "kern/panel.inc"

/* Pairs of 16 bits: the floats of all first ones, and of all second ones. */
static inline void v_two_f16(vec two[2], vec pairs)
{
    __m512i even = _mm512_set_epi16(31, 29, 27, 25, 23, 21, 19, 17, 15, 13, 11, 9, 7, 5, 3, 1,
                                    30, 28, 26, 24, 22, 20, 18, 16, 14, 12, 10, 8, 6, 4, 2, 0);
    __m512i v = _mm512_permutexvar_epi16(even, _mm512_castps_si512(pairs));
    two[0] = _mm512_cvtph_ps(_mm512_castsi512_si256(v));
    two[1] = _mm512_cvtph_ps(_mm512_extracti64x4_epi64(v, 1));
}

static inline void v_two_bf16(vec two[2], vec pairs)
{
    __m512i v = _mm512_castps_si512(pairs);
    two[0] = _mm512_castsi512_ps(_mm512_slli_epi32(v, 16));
    two[1] = _mm512_castsi512_ps(_mm512_and_si512(v, _mm512_set1_epi32((int32_t)0xffff0000)));
}

#include "kern/body.inc"

#include "kern/rounded.inc"

/* As in avx2.c. */
enum { CODES = 2 };

static inline ivec i_load_w(const void *p, size_t n)
{
    return _mm512_cvtepi8_epi16(
        n == 32 ? _mm256_loadu_si256(p)
                : _mm256_maskz_loadu_epi8((__mmask32)(((uint64_t)1 << n) - 1), p));
}

static inline ivec i_dot(ivec sum, ivec x, ivec w)
{
    return _mm512_add_epi32(sum, _mm512_madd_epi16(x, w));
}

static inline ivec i_dot4(ivec sum, ivec x, ivec w)
{
    return _mm512_add_epi16(sum, _mm512_maddubs_epi16(x, w));
}

static inline ivec i_total4(ivec sum)
{
    return _mm512_madd_epi16(sum, _mm512_set1_epi16(1));
}

/* A bit for each of the CODES * W codes at q that is not zero, which is taken off here. */
static inline uint64_t i_others(const void *q, int32_t zero)
{
    (void)zero;
    return _mm512_test_epi16_mask(i_load(q), i_load(q));
}

#include "kern/int.inc"

#include "kern/skip.inc"

KERN_INT_TABLES(kern_avx512_i8, kern_avx512_i4);
const struct kern_bf16 kern_avx512_bf16 = { row_rounded, encode_rounded, gemm_rounded };
const struct kern kern_avx512 = KERN_TABLE("avx512", &kern_avx512_i8, &kern_avx512_i4,
                                           &kern_avx512_bf16);
const struct kern kern_avx512vnni = KERN_TABLE("avx512vnni", &kern_avx512vnni_i8,
                                               &kern_avx512vnni_i4, &kern_avx512_bf16);
const struct kern kern_avx512bf16 = KERN_TABLE("avx512bf16", &kern_avx512vnni_i8,
                                               &kern_avx512vnni_i4, &kern_avx512bf16_bf16);
#endif
