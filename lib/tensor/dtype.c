/* dtype.c - element types and 16-bit floats: see tensor.h. */
#include "tensor/tensor.h"

#include <string.h>

static const struct {
    const char *name;
    size_t size;
} dtypes[] = {
    [DT_NONE] = { "none", 0 }, [DT_F32] = { "f32", 4 },   [DT_F16] = { "f16", 2 },
    [DT_BF16] = { "bf16", 2 }, [DT_F64] = { "f64", 8 },   [DT_I8] = { "i8", 1 },
    [DT_U8] = { "u8", 1 },     [DT_BOOL] = { "bool", 1 }, [DT_I32] = { "i32", 4 },
    [DT_I64] = { "i64", 8 },   [DT_I4] = { "i4", 0 },
};

size_t dtype_size(enum dtype t)
{
    return dtypes[t].size;
}

const char *dtype_name(enum dtype t)
{
    return dtypes[t].name;
}

static float from_bits(uint32_t u)
{
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}

static uint32_t to_bits(float f)
{
    uint32_t u;
    memcpy(&u, &f, sizeof u);
    return u;
}

float dtype_bf16_to_f32(uint16_t h)
{
    return from_bits((uint32_t)h << 16);
}

uint16_t dtype_f32_to_bf16(float f)
{
    uint32_t u = to_bits(f);
    if ((u & 0x7fffffff) > 0x7f800000)
        return (uint16_t)(u >> 16 | 0x40); /* quiet NaN */
    return (uint16_t)((u + 0x7fff + (u >> 16 & 1)) >> 16);
}

/* IEEE 754 binary16: 1 sign, 5 exponent (bias 15), 10 fraction bits. */
float dtype_f16_to_f32(uint16_t h)
{
    uint32_t sign = (uint32_t)(h & 0x8000) << 16;
    uint32_t exp = h >> 10 & 31, frac = h & 1023;
    if (exp == 31)
        return from_bits(sign | 0x7f800000 | frac << 13);
    if (exp)
        return from_bits(sign | (exp + 112) << 23 | frac << 13);
    float sub = (float)frac * 0x1p-24f; /* subnormal or zero: exact in f32 */
    return sign ? -sub : sub;
}

/* Rounds the 24-bit significand of a value below 2^-14 to a multiple of 2^-24. */
static uint16_t to_f16_subnormal(uint32_t abs)
{
    uint32_t shift = 126 - (abs >> 23); /* bits to drop from the significand */
    if (shift > 24)
        return 0;
    uint32_t sig = (abs & 0x7fffff) | 0x800000;
    uint32_t half = 1u << (shift - 1), rest = sig & ((1u << shift) - 1), q = sig >> shift;
    return (uint16_t)(q + (rest > half || (rest == half && (q & 1))));
}

uint16_t dtype_f32_to_f16(float f)
{
    uint32_t u = to_bits(f), abs = u & 0x7fffffff;
    uint16_t sign = (uint16_t)(u >> 16 & 0x8000);
    if (abs > 0x7f800000)
        return (uint16_t)(sign | 0x7e00); /* NaN */
    if (abs >= 0x477ff000)
        return (uint16_t)(sign | 0x7c00); /* rounds to 65536 or more: infinity */
    if (abs < 0x38800000)
        return (uint16_t)(sign | to_f16_subnormal(abs));
    uint32_t r = abs + 0xfff + (abs >> 13 & 1); /* nearest even */
    return (uint16_t)(sign | (r - 0x38000000) >> 13);
}
