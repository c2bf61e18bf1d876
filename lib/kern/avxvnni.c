/* avxvnni.c - products with whole numbers by AVX-VNNI, which sums bytes by bytes as 32 bits
 * (Alder Lake, Zen 5); all else is avx2.c's. */
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

enum { CODES = 4 };

static inline ivec i_load_w(const void *p, size_t n)
{
    return i_load_n(p, n);
}

static inline ivec i_dot(ivec sum, ivec x, ivec w)
{
    return _mm256_dpbusd_avx_epi32(sum, x, w);
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
    ivec same = _mm256_cmpeq_epi8(i_load(q), _mm256_set1_epi8((char)zero));
    return ~(uint32_t)_mm256_movemask_epi8(same) & 0xffffffffu;
}

#include "kern/int.inc"

#include "kern/skip.inc"

KERN_INT_TABLES(kern_avxvnni_i8, kern_avxvnni_i4);
#endif
