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

#include "kern/body.inc"

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
const struct kern kern_avx512 = KERN_TABLE("avx512", &kern_avx512_i8, &kern_avx512_i4);
const struct kern kern_avx512vnni = KERN_TABLE("avx512vnni", &kern_avx512vnni_i8,
                                               &kern_avx512vnni_i4);
#endif
