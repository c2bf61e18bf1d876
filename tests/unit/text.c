/* text.c - lib/text: every golden string both ways, round trips, and tokenizer files that lie.
 */
#include "base/io.h"
#include "lib/tap.h"
#include "text/bpe.h"
#include "text/decode.h"
#include "text/pretoken.h"
#include "text/scan.h"
#include "text/wordpiece.h"

#include <jansson.h>
#include <sys/stat.h>
#include <unistd.h>

/* Either tokenizer behind one face. */
struct face {
    struct bpe *bpe;
    struct wordpiece *wp;
};

static int encode(struct bpe_ids *out, const struct face *t, const char *s, size_t n)
{
    out->n = 0;
    return t->bpe ? bpe_encode(out, t->bpe, s, n, BPE_BOS | BPE_SPECIALS)
                  : wordpiece_encode(out, t->wp, s, n, 0);
}

static int decode(struct buf *out, const struct face *t, const struct bpe_ids *ids, bool skip)
{
    buf_clear(out);
    return t->bpe ? bpe_decode(out, t->bpe, ids->v, ids->n, skip)
                  : wordpiece_decode(out, t->wp, ids->v, ids->n, skip);
}

static int same_ids(const struct bpe_ids *got, json_t *want)
{
    size_t n = json_array_size(want);
    for (size_t i = 0; i < n && n == got->n; i++)
        if (got->v[i] != json_integer_value(json_array_get(want, i)))
            return 0;
    return n == got->n;
}

static int same_text(const struct buf *got, json_t *want)
{
    return got->len == json_string_length(want) &&
           !memcmp(got->len ? (char *)got->data : "", json_string_value(want), got->len);
}

static void set_ids(struct bpe_ids *ids, json_t *from)
{
    ids->n = 0;
    for (size_t i = 0; i < json_array_size(from); i++)
        bpe_ids_push(ids, json_integer_value(json_array_get(from, i)));
}

static int decodes_to(const struct face *t, json_t *line, const char *ids, const char *text,
                      bool skip)
{
    struct bpe_ids v = { 0 };
    struct buf out = { 0 };
    set_ids(&v, json_object_get(line, ids));
    int same = decode(&out, t, &v, skip) == 0 && same_text(&out, json_object_get(line, text));
    bpe_ids_release(&v);
    buf_release(&out);
    return same;
}

/* ids_plain: without the template, so without the first id, and for BERT the last one. */
static int encodes_to(const struct face *t, json_t *line)
{
    struct bpe_ids v = { 0 };
    json_t *text = json_object_get(line, "text");
    const char *s = json_string_value(text);
    size_t n = json_string_length(text);
    int same = encode(&v, t, s, n) == 0 && same_ids(&v, json_object_get(line, "ids"));
    v.n = 0;
    if (t->bpe)
        same &= bpe_encode(&v, t->bpe, s, n, BPE_SPECIALS) == 0 &&
                same_ids(&v, json_object_get(line, "ids_plain"));
    bpe_ids_release(&v);
    return same;
}

static int tokenizer_line(const struct face *t, json_t *line)
{
    return encodes_to(t, line) && decodes_to(t, line, "ids", "decoded", false) &&
           decodes_to(t, line, "ids", "decoded_skip", true) &&
           decodes_to(t, line, "ids_plain", "decoded_plain", false);
}

static int decode_line(const struct face *t, json_t *line)
{
    return decodes_to(t, line, "ids", "text", false) &&
           decodes_to(t, line, "ids", "text_skip", true);
}

static void each_line(const struct face *t, const char *golden, const char *name,
                      int (*check)(const struct face *, json_t *))
{
    FILE *f = golden ? fopen(golden, "r") : NULL;
    char *s = NULL;
    size_t cap = 0;
    int lines = 0, wrong = 0;
    if (!f || (!t->bpe && !t->wp)) {
        skip("fixtures absent");
        return;
    }
    while (getline(&s, &cap, f) > 0) {
        json_t *line = json_loads(s, JSON_ALLOW_NUL, NULL);
        lines++;
        if (!line || !check(t, line)) {
            wrong++;
            printf("# differs: %.300s", s);
        }
        json_decref(line);
    }
    ok(lines > 0 && wrong == 0, "%s: %d of %d lines differ", name, wrong, lines);
    free(s);
    fclose(f);
}

/* The directory of a checkpoint of the fixtures that has this file, or NULL. */
static char *checkpoint(char dir[1024], const char *name, const char *file)
{
    char rel[256];
    snprintf(rel, sizeof rel, "checkpoints/%s/%s", name, file);
    const char *path = tap_fixture(rel);
    if (!path)
        return NULL;
    snprintf(dir, 1024, "%.*s", (int)(strlen(path) - strlen(file) - 1), path);
    return dir;
}

static void golden(const struct face *t, const char *name, const char *how)
{
    char rel[256], what[256];
    snprintf(rel, sizeof rel, "golden/%s/tokenizer.jsonl", name);
    snprintf(what, sizeof what, "%s%s tokenizer.jsonl", name, how);
    each_line(t, tap_fixture(rel), what, tokenizer_line);
    snprintf(rel, sizeof rel, "golden/%s/decode.jsonl", name);
    snprintf(what, sizeof what, "%s%s decode.jsonl", name, how);
    each_line(t, tap_fixture(rel), what, decode_line);
}

/* A directory of our own with links to some of a checkpoint's files. */
static void link_files(const char *to, const char *from, const char *const *names)
{
    char a[2048], b[2048];
    for (; *names; names++) {
        snprintf(a, sizeof a, "%s/%s", from, *names);
        snprintf(b, sizeof b, "%s/%s", to, *names);
        if (access(a, R_OK) == 0 && symlink(a, b) < 0)
            perror(b);
    }
}

static char *new_dir(char dir[64])
{
    strcpy(dir, "/tmp/vqa-text-XXXXXX");
    return mkdtemp(dir);
}

static void remove_dir(const char *dir)
{
    static const char *const names[] = { "tokenizer.json",
                                         "vocab.json",
                                         "merges.txt",
                                         "vocab.txt",
                                         "special_tokens_map.json",
                                         "added_tokens.json",
                                         "tokenizer_config.json",
                                         NULL };
    char path[2048];
    for (int i = 0; names[i]; i++) {
        snprintf(path, sizeof path, "%s/%s", dir, names[i]);
        unlink(path);
    }
    rmdir(dir);
}

/* The same goldens from the older files, without tokenizer.json. */
static void golden_old_files(const char *name, const char *from, const char *const *names)
{
    char dir[64];
    if (!new_dir(dir))
        return;
    link_files(dir, from, names);
    struct face t = { 0 };
    if (!strcmp(names[0], "vocab.txt"))
        t.wp = wordpiece_open(dir);
    else
        t.bpe = bpe_open(dir);
    ok(t.bpe || t.wp, "%s without tokenizer.json opens (%s)", name, err_msg());
    golden(&t, name, " without tokenizer.json");
    bpe_close(t.bpe);
    wordpiece_close(t.wp);
    remove_dir(dir);
}

static void test_golden_bpe(const char *name)
{
    static const char *const with_config[] = { "vocab.json", "merges.txt",
                                               "tokenizer_config.json", NULL };
    static const char *const with_maps[] = { "vocab.json", "merges.txt", "added_tokens.json",
                                             "special_tokens_map.json", NULL };
    char dir[1024];
    if (!checkpoint(dir, name, "tokenizer.json")) {
        skip("fixtures absent");
        return;
    }
    struct face t = { .bpe = bpe_open(dir) };
    ok(t.bpe != NULL, "%s opens (%s)", name, err_msg());
    golden(&t, name, "");
    bpe_close(t.bpe);
    if (!strstr(name, "old")) /* there is no added_tokens_decoder in the old one */
        golden_old_files(name, dir, with_config);
    golden_old_files(name, dir, with_maps);
}

static void test_golden_wordpiece(void)
{
    static const char *const old_files[] = { "vocab.txt", "tokenizer_config.json", NULL };
    static const char name[] = "tiny-blip2-itm";
    char dir[1024];
    if (!checkpoint(dir, name, "tokenizer.json")) {
        skip("fixtures absent");
        return;
    }
    struct face t = { .wp = wordpiece_open(dir) };
    ok(t.wp != NULL, "%s opens (%s)", name, err_msg());
    golden(&t, name, "");
    struct bpe_ids v = { 0 };
    wordpiece_encode(&v, t.wp, "a a a a a a", 11, 5);
    ok(v.n == 5 && v.v[0] == 101 && v.v[3] == 1037 && v.v[4] == 102,
       "cut to 5 ids, [SEP] kept");
    bpe_ids_release(&v);
    wordpiece_close(t.wp);
    golden_old_files(name, dir, old_files);
}

/* ---- round trips ---- */

static uint32_t rnd(uint32_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 17;
    return *seed ^= *seed << 5;
}

/* A character from one of the blocks that a split or a merge could get wrong. */
static size_t random_char(char out[4], uint32_t *seed)
{
    static const uint32_t base[] = { 0x20,   0x20,   0x41,   0xa0,    0x300,   0x2000,  0x3040,
                                     0x4e00, 0xac00, 0xfff0, 0x1f600, 0x20000, 0x10ffc0 };
    uint32_t cp = base[rnd(seed) % (sizeof base / sizeof *base)] + rnd(seed) % 64;
    unsigned char *u = (unsigned char *)out;
    if (cp < 0x80)
        return u[0] = (unsigned char)cp, 1;
    if (cp < 0x800)
        return u[0] = (unsigned char)(0xc0 | cp >> 6), u[1] = 0x80 | (cp & 0x3f), 2;
    u[0] = (unsigned char)(cp < 0x10000 ? 0xe0 | cp >> 12 : 0xf0 | cp >> 18);
    size_t n = cp < 0x10000 ? 3 : 4;
    for (size_t i = 1; i < n; i++)
        u[i] = 0x80 | (cp >> (6 * (n - 1 - i)) & 0x3f);
    return n;
}

static int round_trip(const struct bpe *t, const char *s, size_t n)
{
    struct bpe_ids v = { 0 };
    struct buf out = { 0 };
    int same = bpe_encode(&v, t, s, n, 0) == 0 && bpe_decode(&out, t, v.v, v.n, false) == 0 &&
               out.len == n && (n == 0 || !memcmp(out.data, s, n));
    bpe_ids_release(&v);
    buf_release(&out);
    return same;
}

static void test_round_trip(void)
{
    char dir[1024], s[800];
    uint32_t seed = 20261124;
    int wrong = 0;
    if (!checkpoint(dir, "tiny-blip2-opt-old", "tokenizer.json")) {
        skip("fixtures absent");
        return;
    }
    struct bpe *t = bpe_open(dir);
    for (int round = 0; round < 2000; round++) {
        size_t n = 0, chars = rnd(&seed) % 200;
        while (chars-- > 0)
            n += random_char(s + n, &seed);
        wrong += !round_trip(t, s, n);
    }
    ok(wrong == 0, "decode(encode(x)) = x for 2000 random texts");
    bpe_close(t);
}

/* Bytes that are no UTF-8 are encoded one by one, and decode to U+FFFD. */
static void test_any_bytes(void)
{
    char dir[1024];
    if (!checkpoint(dir, "tiny-blip2-opt-old", "tokenizer.json")) {
        skip("fixtures absent");
        return;
    }
    static const char bad[] = "a\xff\xf0\x9f\x98 b\xc0\x80\xed\xa0\x80";
    static const char want[] = "a\xef\xbf\xbd\xef\xbf\xbd b\xef\xbf\xbd\xef\xbf\xbd"
                               "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd";
    struct bpe *t = bpe_open(dir);
    struct bpe_ids v = { 0 };
    struct buf out = { 0 };
    ok(bpe_encode(&v, t, bad, sizeof bad - 1, 0) == 0 &&
           bpe_decode(&out, t, v.v, v.n, false) == 0 && !strcmp(buf_str(&out), want),
       "invalid UTF-8 becomes U+FFFD as in Rust and Python: %s", buf_str(&out));
    bpe_ids_release(&v);
    buf_release(&out);
    bpe_close(t);
}

static void test_specials(void)
{
    char dir[1024];
    struct bpe_ids v = { 0 };
    if (!checkpoint(dir, "tiny-blip2-opt-bf16", "tokenizer.json")) {
        skip("fixtures absent");
        return;
    }
    struct bpe *t = bpe_open(dir);
    int64_t image = bpe_id(t, "<image>");
    bpe_encode(&v, t, "<image>", 7, BPE_SPECIALS);
    ok(image == 600 && v.n == 1 && v.v[0] == image, "<image> is one id, as in the reference");
    bpe_reserve(t, image);
    v.n = 0;
    bpe_encode(&v, t, "</s><image><pad>", 16, BPE_SPECIALS);
    int found = 0;
    for (size_t i = 0; i < v.n; i++)
        found += v.v[i] == image;
    ok(v.n > 4 && !found && v.v[0] == 2 && v.v[v.n - 1] == 1,
       "reserved, it is ordinary text; </s> and <pad> are not");
    v.n = 0;
    bpe_encode(&v, t, "</s>", 4, 0);
    ok(v.n > 1 && v.v[0] != 2, "without BPE_SPECIALS </s> is ordinary text");
    ok(bpe_id(t, "nosuchtoken") == -1, "no such token");
    bpe_ids_release(&v);
    bpe_close(t);
}

static void test_alphabet(void)
{
    int wrong = 0;
    for (int b = 0; b < 256; b++)
        wrong += decode_byte_of_char(decode_char_of_byte((unsigned char)b)) != b;
    ok(wrong == 0 && decode_char_of_byte(' ') == 0x120 && decode_char_of_byte('\n') == 0x10a &&
           decode_char_of_byte(173) == 0x143 && decode_byte_of_char(0x144) == -1 &&
           decode_byte_of_char(' ') == -1,
       "the byte alphabet, both ways");
    const char *s = " \xe3\x80\x80\x1c x y\n";
    size_t n = strlen(s);
    decode_strip(&s, &n);
    ok(n == 3 && !memcmp(s, "x y", 3), "strip() as Python's");
}

/* Letters and numbers that utf8proc may not know yet; U+1E5EE is unassigned. */
static void test_newer_characters(void)
{
    static const char letter[] = "x\xf0\xae\xaf\xb0" /* U+2EBF0 */ "y";
    static const char number[] = "1\xf0\x96\x84\xb0" /* U+16130 */ "2x";
    static const char none[] = "x\xf0\x9e\x97\xae" /* U+1E5EE */ "y";
    ok(pretoken_next(letter, 6) == 6 && pretoken_next(number, 7) == 6 &&
           pretoken_next(none, 6) == 1,
       "letters and numbers of Unicode 16 are split as by the reference");
}

/* ---- JSON in place ---- */

static int scan_text(struct buf *out, const char *text)
{
    struct scan s = scan_of(text, strlen(text));
    buf_clear(out);
    return scan_str(out, &s);
}

static int scan_number(int64_t *v, const char *text)
{
    struct scan s = scan_of(text, strlen(text));
    return scan_int(v, &s);
}

static void test_scan(void)
{
    struct buf out = { 0 };
    int64_t v;
    ok(scan_text(&out, " \"a\\\"\\\\\\/\\b\\f\\n\\r\\t\\u0120\\uD83d\\ude42\xc3\xa9\" ") == 0 &&
           !strcmp(buf_str(&out), "a\"\\/\b\f\n\r\t\xc4\xa0\xf0\x9f\x99\x82\xc3\xa9"),
       "a string with every escape");
    fails(scan_text(&out, "\"abc"), ERR_DATA, "byte 4: expected the end of a string");
    fails(scan_text(&out, "\"a\nb\""), ERR_DATA, "expected the end of a string");
    fails(scan_text(&out, "\"\\x\""), ERR_DATA, "expected an escape");
    fails(scan_text(&out, "\"\\u12g4\""), ERR_DATA, "expected four hexadecimal digits");
    fails(scan_text(&out, "\"\\ud83d\""), ERR_DATA, "expected a pair of surrogates");
    fails(scan_text(&out, "\"\\ud83d\\u0041\""), ERR_DATA, "expected a pair of surrogates");
    fails(scan_text(&out, "\"\xff\""), ERR_DATA, "expected UTF-8 in a string");
    fails(scan_text(&out, "7"), ERR_DATA, "byte 0: expected a string");
    ok(scan_number(&v, " -12,") == 0 && v == -12, "an integer");
    fails(scan_number(&v, "1.5"), ERR_DATA, "expected an integer");
    fails(scan_number(&v, "1234567890123456789"), ERR_DATA, "expected an integer");
    fails(scan_number(&v, "-"), ERR_DATA, "expected an integer");
    static const char object[] = "{\"x\": [1, {\"k\": \"]\\\"}\"}], \"k\" : 5}";
    struct scan value, s = scan_of(object, strlen(object));
    ok(scan_find(&value, s, "k") == 1 && scan_int(&v, &value) == 0 && v == 5 &&
           scan_find(&value, s, "z") == 0,
       "a key is found behind nested values, and at its own depth");
    buf_release(&out);
}

/* ---- files that lie ---- */

/* A vocabulary of the 256 bytes and then `more`. */
static void byte_vocab(struct buf *b, const char *more)
{
    for (int i = 0; i < 256; i++) {
        uint32_t cp = decode_char_of_byte((unsigned char)i);
        if (cp == '"' || cp == '\\')
            buf_printf(b, "%s\"\\%c\": %d", i ? ", " : "{", (int)cp, i);
        else
            buf_printf(b, "%s\"\\u%04x\": %d", i ? ", " : "{", cp, i);
    }
    buf_printf(b, "%s}", more);
}

static void write_file(const char *dir, const char *name, const char *s, size_t n)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    if (io_write_file(path, s, n) < 0)
        printf("# %s\n", err_msg());
}

static void write_text(const char *dir, const char *name, const char *s)
{
    write_file(dir, name, s, strlen(s));
}

static int opens(const char *dir)
{
    struct bpe *t = bpe_open(dir);
    bpe_close(t);
    return t ? 0 : -1;
}

static int opens_with(const char *dir, const char *vocab, const char *rest)
{
    struct buf b = { 0 };
    buf_puts(&b, "{\"model\": {\"type\": \"BPE\", \"vocab\": ");
    byte_vocab(&b, vocab);
    buf_puts(&b, rest);
    write_file(dir, "tokenizer.json", (char *)b.data, b.len);
    buf_release(&b);
    return opens(dir);
}

static const struct {
    const char *vocab, *rest; /* after the 256 bytes; after the vocabulary */
    enum err_kind kind;
    const char *says;
} hostile[] = {
    { ", \"</s>\": 258", ", \"merges\": []}}", ERR_DATA,
      "the highest id is 258, but none has" },
    { ", \"</s>\": 255", ", \"merges\": []}}", ERR_DATA, "id 255 is taken" },
    { ", \"</s>\": -1", ", \"merges\": []}}", ERR_DATA, "id -1, expected 0 to 1048575" },
    { ", \"</s>\": 1048576", ", \"merges\": []}}", ERR_DATA, "id 1048576, expected 0 to" },
    { ", \"</s>\": 1e9", ", \"merges\": []}}", ERR_DATA, "expected an integer" },
    { ", \"A\": 256", ", \"merges\": []}}", ERR_DATA, "token 'A' is there twice" },
    { ", \"\": 256", ", \"merges\": []}}", ERR_DATA, "0 bytes, expected at least 1" },
    { ", \"</s>\": 256", "}}", ERR_DATA, "model.merges: not there" },
    { ", \"</s>\": 256", ", \"merges\": [\"a b\"]}}", ERR_DATA,
      "model.merges: rule 0: 'ab' is not in the vocabulary" },
    { ", \"</s>\": 256, \"ab\": 257", ", \"merges\": [[\"a\", \"b\"], [\"ab\", \"xy\"]]}}",
      ERR_DATA, "rule 1: 'xy' is not in the vocabulary" },
    { ", \"</s>\": 256", ", \"merges\": [\"a b c\"]}}", ERR_DATA, "expected two tokens" },
    { ", \"</s>\": 256", ", \"merges\": [[\"a\"]]}}", ERR_DATA, "expected two tokens" },
    { ", \"</s>\": 256", ", \"merges\": [7]}}", ERR_DATA, "expected two tokens" },
    { "", ", \"merges\": []}}", ERR_DATA, "bos_token '</s>' is not in the vocabulary" },
    { ", \"</s>\": 256",
      ", \"merges\": []}, \"added_tokens\": [{\"id\": 3, \"content\": \"</s>\"}]}", ERR_DATA,
      "added token '</s>': id 3, but 256 in the vocabulary" },
    { ", \"</s>\": 256",
      ", \"merges\": []}, \"added_tokens\": [{\"id\": 3, \"content\": \"<x>\"}]}", ERR_DATA,
      "id 3 is taken" },
    { ", \"</s>\": 256", ", \"merges\": []}, \"added_tokens\": [{\"content\": \"<x>\"}]}",
      ERR_DATA, "entry 0 has no id" },
    { ", \"</s>\": 256",
      ", \"merges\": []}, \"added_tokens\": [{\"id\": 300, \"content\": \"<x>\", \"lstrip\": true}]}",
      ERR_CONFIG, "lstrip: true, expected false" },
    { ", \"</s>\": 256", ", \"byte_fallback\": true, \"merges\": []}}", ERR_CONFIG,
      "model.byte_fallback: true, expected false" },
    { ", \"</s>\": 256", ", \"merges\": []}, \"normalizer\": {\"type\": \"NFC\"}}", ERR_CONFIG,
      "normalizer.type: \"NFC\", expected null" },
    { ", \"</s>\": 256", ", \"merges\": []}, \"pre_tokenizer\": {\"add_prefix_space\": true}}",
      ERR_CONFIG, "pre_tokenizer.add_prefix_space: true, expected false" },
    { ", \"</s>\": 256",
      ", \"merges\": []}, \"post_processor\": {\"type\": \"TemplateProcessing\", \"single\": "
      "[{\"Sequence\": {}}, {\"SpecialToken\": {\"id\": \"</s>\"}}]}}",
      ERR_CONFIG, "expected one token before the text" },
};

static void test_hostile(void)
{
    char dir[64];
    if (!new_dir(dir))
        return;
    fails(opens(dir), ERR_NOINPUT, "no tokenizer.json and no vocab.json with merges.txt");
    ok(opens_with(dir, ", \"</s>\": 256", ", \"merges\": []}}") == 0, "bytes alone are enough");
    ok(opens_with(dir, ", \"</s>\": 256",
                  "}, \"x\": {\"model\": {\"vocab\": 1}}, \"y\": [\"merges\"]}") < 0 &&
           strstr(err_msg(), "model.merges: not there"),
       "only model's own keys count");
    for (size_t i = 0; i < sizeof hostile / sizeof *hostile; i++)
        fails(opens_with(dir, hostile[i].vocab, hostile[i].rest), hostile[i].kind,
              hostile[i].says);
    write_text(dir, "tokenizer.json",
               "{\"model\": {\"vocab\": {\"</s>\": 0}, \"merges\": []}}");
    fails(opens(dir), ERR_DATA, "no token for byte 0x00");
    struct buf b = { 0 };
    buf_puts(&b, "{\"model\": {\"merges\": [\"a b\"], \"vocab\": ");
    byte_vocab(&b, ", \"</s>\": 256, \"ab\": 257");
    buf_puts(&b, "}}");
    write_file(dir, "tokenizer.json", (char *)b.data, b.len);
    ok(opens(dir) == 0, "merges may come before the vocabulary (%s)", err_msg());
    buf_release(&b);
    write_text(dir, "tokenizer.json", "{\"model\": ");
    fails(opens(dir), ERR_DATA, "tokenizer.json: byte 10: expected an object");
    write_text(dir, "tokenizer.json", "[]");
    fails(opens(dir), ERR_DATA, "tokenizer.json: byte 0: expected an object");
    write_text(dir, "tokenizer.json", "version https://git-lfs.github.com/spec/v1\n");
    fails(opens(dir), ERR_DATA, "a git-lfs pointer");
    remove_dir(dir);
}

/* Every cut is an error; a flipped byte gives a tokenizer or an error, never anything else. */
static void test_damaged(void)
{
    char from[1024], path[1100], dir[64];
    struct buf b = { 0 };
    uint32_t seed = 7;
    int bad = 0;
    if (!checkpoint(from, "tiny-blip2-opt-old", "tokenizer.json") || !new_dir(dir)) {
        skip("fixtures absent");
        return;
    }
    snprintf(path, sizeof path, "%s/tokenizer.json", from);
    io_read_file(&b, path, 1 << 20);
    for (size_t n = 0; n < b.len - 1; n += 61) {
        write_file(dir, "tokenizer.json", (char *)b.data, n);
        bad += opens(dir) == 0 || err_kind() != ERR_DATA;
    }
    ok(b.len > 10000 && bad == 0, "tokenizer.json cut short is ERR_DATA at every offset tried");
    for (int round = bad = 0; round < 500; round++) {
        size_t at = rnd(&seed) % b.len;
        unsigned char was = b.data[at];
        b.data[at] ^= (unsigned char)(1 << rnd(&seed) % 8);
        write_file(dir, "tokenizer.json", (char *)b.data, b.len);
        bad += opens(dir) < 0 && err_kind() != ERR_DATA && err_kind() != ERR_CONFIG;
        b.data[at] = was;
    }
    ok(bad == 0, "tokenizer.json with a flipped bit opens, or is ERR_DATA or ERR_CONFIG");
    buf_release(&b);
    remove_dir(dir);
}

static void test_hostile_merges_txt(void)
{
    char dir[64];
    struct buf b = { 0 };
    if (!new_dir(dir))
        return;
    byte_vocab(&b, ", \"</s>\": 256, \"ab\": 257");
    write_file(dir, "vocab.json", (char *)b.data, b.len);
    fails(opens(dir), ERR_NOINPUT, "no tokenizer.json");
    write_text(dir, "merges.txt", "#version: 0.2\na b\r\n# a\n");
    fails(opens(dir), ERR_DATA, "merges.txt: line 3: '#a' is not in the vocabulary");
    write_text(dir, "merges.txt", "#version: 0.2\na b\r\n\n");
    ok(opens(dir) == 0, "merges.txt with a version line and CR opens (%s)", err_msg());
    buf_release(&b);
    remove_dir(dir);
}

int main(void)
{
    test_alphabet();
    test_golden_bpe("tiny-blip2-opt");
    test_golden_bpe("tiny-blip2-opt-old");
    test_golden_wordpiece();
    test_round_trip();
    test_any_bytes();
    test_newer_characters();
    test_scan();
    test_specials();
    test_hostile();
    test_damaged();
    test_hostile_merges_txt();
    return tap_done();
}
