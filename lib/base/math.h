/* math.h - sizes that cannot overflow silently. Every product that becomes an allocation or an
 * offset goes through these.
 *
 * Errors:  true when the result fits, false (result unset) when it does not. */
#ifndef BASE_MATH_H
#define BASE_MATH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

static inline bool math_mul(size_t *out, size_t a, size_t b)
{
    return !__builtin_mul_overflow(a, b, out);
}

static inline bool math_add(size_t *out, size_t a, size_t b)
{
    return !__builtin_add_overflow(a, b, out);
}

static inline int64_t math_min(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static inline int64_t math_max(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

#endif
