/* avx512vnni.c - products with whole numbers by AVX-512 VNNI, which sums bytes by bytes as 32
 * bits (Cascade Lake, Zen 4); all else is avx512.c's. */
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

enum { CODES = 4 };

static inline ivec i_load_w(const void *p, size_t n)
{
    return i_load_n(p, n);
}

static inline ivec i_dot(ivec sum, ivec x, ivec w)
{
    return _mm512_dpbusd_epi32(sum, x, w);
}

static inline ivec i_dot4(ivec sum, ivec x, ivec w)
{
    return i_dot(sum, x, w);
}

static inline ivec i_total4(ivec sum)
{
    return sum;
}

/* A bit for each of the CODES * W codes at q that is not zero. */
static inline uint64_t i_others(const void *q, int32_t zero)
{
    return _mm512_cmpneq_epi8_mask(i_load(q), _mm512_set1_epi8((char)zero));
}

#include "kern/int.inc"

#include "kern/skip.inc"

KERN_INT_TABLES(kern_avx512vnni_i8, kern_avx512vnni_i4);
#endif
