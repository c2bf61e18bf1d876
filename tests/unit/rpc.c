/* rpc.c - the header of 48 bytes, its CRC, and the ids of records that are still bytes. */
#include "base/buf.h"
#include "lib/tap.h"
#include "rpc/crc.h"
#include "rpc/frame.h"
#include "wire/tag.h"
#include "wire/wire.h"

static void test_crc(void)
{
    unsigned char zero[32] = { 0 }, up[32];
    static unsigned char noise[30000];
    for (int i = 0; i < 32; i++)
        up[i] = (unsigned char)i;
    for (size_t i = 0; i < sizeof noise; i++)
        noise[i] = (unsigned char)(i * 2654435761u >> 13);
    ok(~crc_more(~0u, zero, 32) == 0x8a9136aa && ~crc_more(~0u, up, 32) == 0x46dd794e,
       "CRC-32C of RFC 3720's examples");
    int bad = 0;
    for (size_t n = 0; n <= sizeof noise; n += n < 1027 ? 1 : 509)
        bad += crc_more(~0u, noise, n) != crc_plain(~0u, noise, n);
    ok(bad == 0, "with and without the instruction: the same, for any length");
}

/* The bytes that man/stage-protocol.7 says. */
static void test_bytes(void)
{
    static const unsigned char want[RPC_HEAD - 4] = {
        'V', 'Q', 'A', 'R', 1, 0, 3,    2, 8, 7, 6, 5, 4, 3, 2, 1, 0x2a, 0, 0, 0, 0, 0,
        0,   0,   1,   0,   2, 0, 0xe8, 3, 0, 0, 5, 0, 0, 0, 0, 0, 0,    0, 9, 0, 0, 0,
    };
    struct rpc_head h = { .type = RPC_REQ,
                          .session = 0x0102030405060708,
                          .counter = 42,
                          .attempt = 1,
                          .credits = 2,
                          .ms = 1000,
                          .part = 9 },
                    back;
    unsigned char head[RPC_HEAD], id[16];
    rpc_pack(head, &h, "hello", 5);
    ok(!memcmp(head, want, sizeof want), "a header is the bytes of stage-protocol(7)");
    ok(rpc_unpack(&back, head, sizeof head, "hello", 5) == 0 && back.session == h.session &&
           back.counter == 42 && back.ms == 1000 && back.part == 9 && back.type == RPC_REQ,
       "and comes back");
    uint64_t session, counter;
    rpc_pack_id(id, h.session, h.counter);
    rpc_unpack_id(id, &session, &counter);
    ok(!memcmp(id, want + 8, 16) && session == h.session && counter == 42, "so does an id");
}

static void test_refusals(void)
{
    struct rpc_head h = { .type = RPC_REQ, .session = 1, .counter = 1 }, back;
    unsigned char head[RPC_HEAD];
    char body[] = "hello";
    rpc_pack(head, &h, body, 5);
    fails(rpc_unpack(&back, head, 47, body, 5), ERR_PROTO, "not a message of this protocol");
    fails(rpc_unpack(&back, head, sizeof head, body, 4), ERR_PROTO, "its header says 5");
    int accepted = 0;
    for (size_t bit = 0; bit < 8 * (sizeof head + 5); bit++) {
        unsigned char *p = bit < 8 * sizeof head
                               ? head + bit / 8
                               : (unsigned char *)body + bit / 8 - sizeof head;
        *p ^= (unsigned char)(1 << (bit & 7));
        /* The flag that says whether there is a CRC is itself one bit. */
        accepted += rpc_unpack(&back, head, sizeof head, body, 5) == 0 && bit != 7 * 8 + 1;
        *p ^= (unsigned char)(1 << (bit & 7));
    }
    ok(accepted == 0, "every flipped bit is seen");
}

static int decode(struct record *rec, const struct tag_pieces *p)
{
    struct buf b = { 0 };
    for (int i = 0; i < 3; i++)
        if (p->n[i])
            buf_append(&b, p->p[i], p->n[i]);
    int rc = wire_decode(rec, b.data, b.len);
    buf_release(&b);
    return rc;
}

/* Under another id, and back to what it was. */
static void round_trip(const char *name, const char *bytes, size_t n, int same)
{
    struct record rec;
    struct tag t;
    struct tag_pieces piece;
    unsigned char room[TAG_VALUE], value[TAG_VALUE];
    const char *s;
    size_t len;
    record_init(&rec);
    int rc = wire_decode(&rec, bytes, n);
    tag_find(&t, &rec);
    tag_replace(&piece, room, &t, bytes, n, value, tag_pack(value, "new#7"));
    ok(rc == 0 && decode(&rec, &piece) == 0 && record_get_str(&s, &len, &rec, "id") == 1 &&
           len == 5 && !memcmp(s, "new#7", 5),
       "%s: under a new id", name);
    struct buf tagged = { 0 };
    buf_append(&tagged, rec.bytes.data, rec.bytes.len);
    struct tag u;
    tag_find(&u, &rec);
    tag_replace(&piece, room, &u, tagged.data, tagged.len, bytes + t.at, t.n);
    ok(decode(&rec, &piece) == 0 &&
           (!same || (rec.bytes.len == n && !memcmp(rec.bytes.data, bytes, n))) &&
           record_has(&rec, "id") == (t.n > 0),
       "%s: and under its own again", name);
    buf_release(&tagged);
    record_release(&rec);
}

int main(void)
{
    static const char first[] = "\x82\xa2id\xa1x\xa1n\x05", last[] = "\x82\xa1n\x05\xa2id\x07";
    static const char none[] = "\x81\xa1n\x05",
                      wide[] = "\xde\x00\x02\xa1n\x05\xa2id\xc4\x02\xff\xfe";
    test_crc();
    test_bytes();
    test_refusals();
    round_trip("first", first, sizeof first - 1, 1);
    round_trip("last, an int", last, sizeof last - 1, 1);
    round_trip("none", none, sizeof none - 1, 0);
    round_trip("bin, in a wide map", wide, sizeof wide - 1, 1);
    return tap_done();
}
