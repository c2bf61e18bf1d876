/* crc.h - CRC-32C (Castagnoli), as RFC 3720 defines it. Private to lib/rpc.
 *
 * The instruction where the processor has it, a nibble at a time where not. */
#ifndef RPC_CRC_H
#define RPC_CRC_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* The plain form: one table of 16. crc is the running value, ~0 at the start. */
static inline uint32_t crc_plain(uint32_t crc, const unsigned char *p, size_t n)
{
    static const uint32_t table[16] = {
        0x00000000, 0x105ec76f, 0x20bd8ede, 0x30e349b1, 0x417b1dbc, 0x5125dad3,
        0x61c69362, 0x7198540d, 0x82f63b78, 0x92a8fc17, 0xa24bb5a6, 0xb21572c9,
        0xc38d26c4, 0xd3d3e1ab, 0xe330a81a, 0xf36e6f75,
    };
    for (; n; n--, p++) {
        crc = table[(crc ^ *p) & 15] ^ (crc >> 4);
        crc = table[(crc ^ (uint32_t)(*p >> 4)) & 15] ^ (crc >> 4);
    }
    return crc;
}

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) static inline uint32_t crc_fast(uint32_t crc,
                                                                  const unsigned char *p,
                                                                  size_t n)
{
    uint64_t c = crc, word;
    for (; n >= 8; n -= 8, p += 8) {
        memcpy(&word, p, 8);
        c = __builtin_ia32_crc32di(c, word);
    }
    for (; n; n--, p++)
        c = __builtin_ia32_crc32qi((uint32_t)c, *p);
    return (uint32_t)c;
}

static inline uint32_t crc_more(uint32_t crc, const void *p, size_t n)
{
    return __builtin_cpu_supports("sse4.2") ? crc_fast(crc, p, n) : crc_plain(crc, p, n);
}
#else
static inline uint32_t crc_more(uint32_t crc, const void *p, size_t n)
{
    return crc_plain(crc, p, n);
}
#endif

#endif
