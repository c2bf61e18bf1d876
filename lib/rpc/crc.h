/* crc.h - CRC-32C (Castagnoli), as RFC 3720 defines it. Private to lib/rpc.
 *
 * The instruction where the processor has it, a nibble at a time where not. The instruction has
 * three cycles of latency and one of throughput: three lanes at once, joined by a
 * multiplication (Gopal et al., "Fast CRC Computation for iSCSI Polynomial Using CRC32
 * Instruction", Intel 2011). */
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
#define CRC_LANE   4096
#define CRC_TARGET __attribute__((target("sse4.2,pclmul"))) static inline

CRC_TARGET uint64_t crc_word(uint64_t crc, const unsigned char *p)
{
    uint64_t word;
    memcpy(&word, p, 8);
    return __builtin_ia32_crc32di(crc, word);
}

/* crc after as many zero bytes more as k, x^(8 bytes - 33) mod P bit-reflected, stands for. */
CRC_TARGET uint64_t crc_past(uint64_t crc, uint32_t k)
{
    typedef long long pair __attribute__((vector_size(16)));
    pair product = __builtin_ia32_pclmulqdq128((pair){ (long long)crc }, (pair){ k }, 0);
    return __builtin_ia32_crc32di(0, (uint64_t)product[0]);
}

CRC_TARGET uint64_t crc_lanes(uint64_t crc, const unsigned char *p)
{
    uint64_t b = 0, c = 0;
    for (size_t i = 0; i < CRC_LANE; i += 8) {
        crc = crc_word(crc, p + i);
        b = crc_word(b, p + CRC_LANE + i);
        c = crc_word(c, p + 2 * CRC_LANE + i);
    }
    return crc_past(crc, 0x54a86326) ^ crc_past(b, 0x82f89c77) ^ c;
}

CRC_TARGET uint32_t crc_fast(uint32_t crc, const unsigned char *p, size_t n)
{
    uint64_t c = crc;
    for (; n >= 3 * CRC_LANE; n -= 3 * CRC_LANE, p += 3 * CRC_LANE)
        c = crc_lanes(c, p);
    for (; n >= 8; n -= 8, p += 8)
        c = crc_word(c, p);
    for (; n; n--, p++)
        c = __builtin_ia32_crc32qi((uint32_t)c, *p);
    return (uint32_t)c;
}

static inline uint32_t crc_more(uint32_t crc, const void *p, size_t n)
{
    return __builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("pclmul")
               ? crc_fast(crc, p, n)
               : crc_plain(crc, p, n);
}
#else
static inline uint32_t crc_more(uint32_t crc, const void *p, size_t n)
{
    return crc_plain(crc, p, n);
}
#endif

#endif
