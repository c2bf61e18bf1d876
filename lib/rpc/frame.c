/* frame.c - see frame.h. All numbers are little-endian. */
#include "rpc/frame.h"

#include "base/err.h"
#include "rpc/crc.h"

#include <string.h>

static const unsigned char magic[4] = { 'V', 'Q', 'A', 'R' };

enum {
    AT_MAJOR = 4,
    AT_MINOR = 5,
    AT_TYPE = 6,
    AT_FLAGS = 7,
    AT_SESSION = 8,
    AT_COUNTER = 16,
    AT_ATTEMPT = 24,
    AT_CREDITS = 26,
    AT_MS = 28,
    AT_LENGTH = 32,
    AT_PART = 40,
    AT_CRC = 44
};

static void put(unsigned char *p, uint64_t v, int bytes)
{
    for (int i = 0; i < bytes; i++)
        p[i] = (unsigned char)(v >> (8 * i));
}

static uint64_t get(const unsigned char *p, int bytes)
{
    uint64_t v = 0;
    for (int i = 0; i < bytes; i++)
        v |= (uint64_t)p[i] << (8 * i);
    return v;
}

/* Over the header without the field itself, then the body. */
static uint32_t sum(const unsigned char *head, const void *body, size_t n)
{
    return ~crc_more(crc_more(~0u, head, AT_CRC), body, n);
}

void rpc_pack_id(unsigned char out[16], uint64_t session, uint64_t counter)
{
    put(out, session, 8);
    put(out + 8, counter, 8);
}

void rpc_unpack_id(const unsigned char in[16], uint64_t *session, uint64_t *counter)
{
    *session = get(in, 8);
    *counter = get(in + 8, 8);
}

void rpc_pack(unsigned char out[RPC_HEAD], const struct rpc_head *h, const void *body, size_t n)
{
    memcpy(out, magic, sizeof magic);
    out[AT_MAJOR] = RPC_MAJOR;
    out[AT_MINOR] = RPC_MINOR;
    out[AT_TYPE] = h->type;
    out[AT_FLAGS] = (unsigned char)(h->flags | RPC_CRC);
    rpc_pack_id(out + AT_SESSION, h->session, h->counter);
    put(out + AT_ATTEMPT, h->attempt, 2);
    put(out + AT_CREDITS, h->credits, 2);
    put(out + AT_MS, h->ms, 4);
    put(out + AT_LENGTH, n, 8);
    put(out + AT_PART, h->part, 4);
    put(out + AT_CRC, sum(out, body, n), 4);
}

int rpc_unpack(struct rpc_head *h, const void *head, size_t head_n, const void *body, size_t n)
{
    const unsigned char *p = head;
    if (head_n != RPC_HEAD || memcmp(p, magic, sizeof magic) != 0)
        return err_set(ERR_PROTO, "not a message of this protocol");
    if (p[AT_MAJOR] != RPC_MAJOR)
        return err_set(ERR_PROTO, "protocol of version %d, expected %d", p[AT_MAJOR],
                       RPC_MAJOR);
    *h = (struct rpc_head){ .type = p[AT_TYPE],
                            .flags = p[AT_FLAGS],
                            .session = get(p + AT_SESSION, 8),
                            .counter = get(p + AT_COUNTER, 8),
                            .attempt = (uint16_t)get(p + AT_ATTEMPT, 2),
                            .credits = (uint16_t)get(p + AT_CREDITS, 2),
                            .ms = (uint32_t)get(p + AT_MS, 4),
                            .part = (uint32_t)get(p + AT_PART, 4) };
    if (h->type == 0 || h->type >= RPC_TYPES)
        return err_set(ERR_PROTO, "message of unknown type %d", h->type);
    if (get(p + AT_LENGTH, 8) != n)
        return err_set(ERR_PROTO, "a body of %zu bytes, its header says %llu", n,
                       (unsigned long long)get(p + AT_LENGTH, 8));
    if ((h->flags & RPC_CRC) && get(p + AT_CRC, 4) != sum(p, body, n))
        return err_set(ERR_PROTO, "damaged: the CRC is not that of the bytes");
    return 0;
}
