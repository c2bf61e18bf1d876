/* loop.h - words for loops whose bounds are constants once inlined: what they index must stay
 * in registers. Only for lib/kern. */
#ifndef KERN_LOOP_H
#define KERN_LOOP_H

#define INLINE static inline __attribute__((always_inline))

#ifdef __clang__
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif

#endif
