/* avx512bf16.c - products of bf16 by bf16 by AVX-512 BF16, which adds two of them at a time to
 * a float (Cooper Lake, Zen 4); all else is avx512.c's and avx512vnni.c's. */
#include "kern/kern.h"
#include "kern/loop.h"

#ifdef __x86_64__
#include <immintrin.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "kern/vec16.inc"

#include "kern/panel.inc"

/* Each of the two is added with a rounding of its own, to the nearest; below 2^-126 all are 0.
 */
static inline vec v_dot2(vec sum, ivec x, ivec w)
{
    return _mm512_dpbf16_ps(sum, (__m512bh)x, (__m512bh)w);
}

static inline void i_store_bf16(void *p, vec v)
{
    _mm256_storeu_si256(p, (__m256i)_mm512_cvtneps_pbh(v));
}

#include "kern/bf16.inc"

const struct kern_bf16 kern_avx512bf16_bf16 = { row_bf16, encode_bf16, rows_bf16 };
#endif
