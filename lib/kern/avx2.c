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

#include "kern/vec8.inc"

#include "kern/panel.inc"

/* Pairs of 16 bits: the floats of all first ones, and of all second ones. */
static inline void v_two_f16(vec two[2], vec pairs)
{
    __m256i even = _mm256_setr_epi8(0, 1, 4, 5, 8, 9, 12, 13, 2, 3, 6, 7, 10, 11, 14, 15, 0, 1,
                                    4, 5, 8, 9, 12, 13, 2, 3, 6, 7, 10, 11, 14, 15);
    __m256i v = _mm256_shuffle_epi8(_mm256_castps_si256(pairs), even);
    v = _mm256_permute4x64_epi64(v, 0xd8);
    two[0] = _mm256_cvtph_ps(_mm256_castsi256_si128(v));
    two[1] = _mm256_cvtph_ps(_mm256_extracti128_si256(v, 1));
}

static inline void v_two_bf16(vec two[2], vec pairs)
{
    __m256i v = _mm256_castps_si256(pairs);
    two[0] = _mm256_castsi256_ps(_mm256_slli_epi32(v, 16));
    two[1] = _mm256_castsi256_ps(_mm256_and_si256(v, _mm256_set1_epi32((int32_t)0xffff0000)));
}

#include "kern/body.inc"

#include "kern/rounded.inc"

/* Bytes by bytes would not fit the 16 bits that products of them are summed in. */
enum { CODES = 2 };

static inline ivec i_load_w(const void *p, size_t n)
{
    char bytes[16] = { 0 };
    if (n == 16)
        return _mm256_cvtepi8_epi16(_mm_loadu_si128(p));
    memcpy(bytes, p, n);
    return _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)bytes));
}

static inline ivec i_dot(ivec sum, ivec x, ivec w)
{
    return _mm256_add_epi32(sum, _mm256_madd_epi16(x, w));
}

/* 8 times 2 products of 255 and -8 are -32640: these do. */
static inline ivec i_dot4(ivec sum, ivec x, ivec w)
{
    return _mm256_add_epi16(sum, _mm256_maddubs_epi16(x, w));
}

static inline ivec i_total4(ivec sum)
{
    return _mm256_madd_epi16(sum, _mm256_set1_epi16(1));
}

/* A bit for each of the CODES * W codes at q that is not zero, which is taken off here. */
static inline uint64_t i_others(const void *q, int32_t zero)
{
    ivec same = _mm256_cmpeq_epi16(i_load(q), i_zero());
    (void)zero;
    same = _mm256_permute4x64_epi64(_mm256_packs_epi16(same, i_zero()), 0x08);
    return ~(uint32_t)_mm256_movemask_epi8(same) & 0xffffu;
}

#include "kern/int.inc"

#include "kern/skip.inc"

KERN_INT_TABLES(kern_avx2_i8, kern_avx2_i4);
const struct kern_bf16 kern_avx2_bf16 = { row_rounded, encode_rounded, gemm_rounded };
const struct kern kern_avx2 = KERN_TABLE("avx2", &kern_avx2_i8, &kern_avx2_i4, &kern_avx2_bf16);
const struct kern kern_avxvnni = KERN_TABLE("avxvnni", &kern_avxvnni_i8, &kern_avxvnni_i4,
                                            &kern_avx2_bf16);
#endif
