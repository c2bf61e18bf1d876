/* store.c - lib/store: every fixture opens, and nothing that is damaged does. */
#include "store/store.h"
#include "base/buf.h"
#include "base/io.h"
#include "cli/die.h"
#include "lib/tap.h"
#include "store/hub.h"

#include <jansson.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char root[] = "/tmp/vqa-store-XXXXXX"; /* made by main, removed at its end */

/* ---- directories made here ---- */

static const char *path_of(const char *name)
{
    static char path[4][512];
    static int turn;
    char *p = path[turn++ & 3];
    snprintf(p, sizeof path[0], "%s/%s", root, name);
    return p;
}

static void put(const char *name, const void *p, size_t n)
{
    if (io_write_file(path_of(name), p, n) < 0)
        ok(0, "cannot write %s: %s", name, err_msg());
}

static void put_text(const char *name, const char *text)
{
    put(name, text, strlen(text));
}

/* A safetensors file: the header as given, and so many bytes of data 0, 1, 2, ... */
static void put_weights(const char *name, const char *header, size_t data)
{
    struct buf b;
    buf_init(&b);
    size_t n = strlen(header);
    for (int i = 0; i < 8; i++)
        buf_putc(&b, (int)(n >> 8 * i & 255));
    buf_append(&b, header, n);
    for (size_t i = 0; i < data; i++)
        buf_putc(&b, (int)(i & 255));
    put(name, b.data, b.len);
    buf_release(&b);
}

static struct store *open_root(void)
{
    return store_open(root);
}

/* Looks for a tensor, which reads the weights. */
static int look(void)
{
    struct store *s = open_root();
    struct tensor t;
    int rc = s ? store_find(&t, s, "a") : -1;
    store_close(s);
    return rc;
}

/* ---- headers ---- */

#define A(begin, end) "{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[" #begin "," #end "]}"

static const struct {
    const char *header;
    size_t data;
    const char *says; /* NULL: fine */
} headers[] = {
    { "{\"a\":" A(0, 8) "}", 8, NULL },
    { "{\"a\":" A(0, 8) "}   ", 8, NULL },
    { "{\"__metadata__\":{\"format\":\"pt\"},\"a\":" A(0, 8) "}", 8, NULL },
    { "{\"b\":" A(8, 16) ",\"a\":" A(0, 8) "}", 16, NULL },
    { "{\"a\":{\"dtype\":\"F32\",\"shape\":[0,9],\"data_offsets\":[0,0]},\"b\":" A(0, 8) "}", 8,
      NULL },
    { "{\"x\":{\"dtype\":\"F4\",\"shape\":[2],\"data_offsets\":[8,9]},\"a\":" A(0, 8) "}", 9,
      NULL },
    { "{\"x\":{\"dtype\":\"U8\",\"shape\":[1,1,1,1,1],\"data_offsets\":[8,9]},\"a\":" A(0,
                                                                                        8) "}",
      9, NULL },
    { "{}", 0, NULL },
    { "{\"a\":" A(0, 8) "}", 7, "a: data ends at 8 of 7 bytes: truncated" },
    { "{\"a\":" A(0, 8) "}", 9, "tensors end at 8 of 9 bytes of data: trailing bytes" },
    { "{}", 1, "tensors end at 0 of 1 bytes of data: trailing bytes" },
    { "{\"a\":" A(0, 8) ",\"b\":" A(4, 12) "}", 12,
      "b: data begins at 4, expected 8: overlap" },
    { "{\"a\":" A(0, 8) ",\"b\":" A(9, 17) "}", 17, "b: data begins at 9, expected 8: hole" },
    { "{\"a\":" A(0, 8) ",\"b\":" A(0, 8) "}", 8, "overlap" },
    { "{\"a\":" A(0, 8) ",\"b\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[4,4]}}", 8,
      "b: data begins at 4, expected 8: overlap" },
    { "{\"a\":" A(8, 0) "}", 8, "end 0 before begin 8" },
    { "{\"a\":" A(0, 4) "}", 4, "a: 4 bytes of data, its dtype and shape say 8" },
    { "{\"a\":" A(0, 8) ",\"a\":" A(0, 8) "}", 8, "duplicate" },
    { "{\"a\":" A(0, 8) ",\"\\u0061\":" A(0, 8) "}", 8, "duplicate" },
    { "{\"a\":" A(0, 8.0) "}", 8, "not an integer" },
    { "{\"a\":" A(-0, 8) "}", 8, "negative number at byte" },
    { "{\"a\":" A(-8, 8) "}", 8, "negative number" },
    { "{\"a\":" A(0, 9223372036854775808) "}", 8, "header: JSON at byte" },
    { "{\"a\":" A(0, 9223372036854775807) "}", 8, "truncated" },
    { "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0]}}", 8, "[begin, end]" },
    { "{\"a\":{\"dtype\":\"F32\",\"shape\":[2]}}", 8, "[begin, end]" },
    { "{\"a\":{\"dtype\":\"F32\",\"data_offsets\":[0,8]}}", 8, "shape: not an array" },
    { "{\"a\":{\"shape\":[2],\"data_offsets\":[0,8]}}", 8, "dtype: not a string" },
    { "{\"a\":{\"dtype\":7,\"shape\":[2],\"data_offsets\":[0,8]}}", 8, "dtype: not a string" },
    { "{\"a\":{\"dtype\":\"F32\",\"shape\":[4611686018427387904,4,0],"
      "\"data_offsets\":[0,0]}}",
      0, "the product overflows" },
    { "{\"a\":{\"dtype\":\"F32\",\"shape\":[9223372036854775807],\"data_offsets\":[0,8]}}", 8,
      "the size overflows" },
    { "{\"a\":7}", 0, "a: dtype: not a string" },
    { "{\"__metadata__\":{\"n\":1}}", 0, "__metadata__: n: not a string" },
    { "{\"__metadata__\":[]}", 0, "__metadata__: not an object" },
    { "{\"a\":" A(0, 8), 8, "header: JSON at byte" },
    { "{\"a\":" A(0, 8) "}{}", 8, "header: JSON at byte" },
    { "{\"a\":[[[[[[[[[1]]]]]]]]]}", 0, "nested 10 deep, the limit is 8" },
    { " {}", 0, "does not begin with '{'" },
    { "[]", 0, "does not begin with '{'" },
    { "", 0, "does not begin with '{'" },
    { "{\"\xff\":" A(0, 8) "}", 8, "header: JSON at byte" },
    { "{\"\\u0000\":" A(0, 8) "}", 8, "header: JSON at byte" },
};

static void test_headers(void)
{
    put_text("config.json", "{}");
    for (size_t i = 0; i < sizeof headers / sizeof *headers; i++) {
        put_weights("model.safetensors", headers[i].header, headers[i].data);
        int rc = look();
        if (!headers[i].says)
            ok(rc >= 0, "header %zu is accepted", i);
        else
            ok(rc < 0 && err_kind() == ERR_DATA && strstr(err_msg(), headers[i].says) &&
                   strstr(err_msg(), "/model.safetensors: "),
               "header %zu is refused: %s", i, headers[i].says);
    }
}

/* The 8 bytes before the header, and files that are something else. */
static void test_frames(void)
{
    put("model.safetensors", "\x02\0\0\0\0\0\0", 7);
    fails(look(), ERR_DATA, "7 bytes: truncated, or not a safetensors file");
    put("model.safetensors", "\x03\0\0\0\0\0\0\0{}", 10);
    fails(look(), ERR_DATA, "header of 3 bytes in a file of 10: truncated");
    put("model.safetensors", "\xff\xff\xff\xff\xff\xff\xff\xff{}", 10);
    fails(look(), ERR_DATA, "header of 18446744073709551615 bytes, the limit is 16777216");
    put("model.safetensors", "\x01\0\0\1\0\0\0\0{}", 10);
    fails(look(), ERR_DATA, "header of 16777217 bytes, the limit is 16777216");
    put("model.safetensors", "", 0);
    fails(look(), ERR_DATA, "empty file");
    put_text("model.safetensors",
             "version https://git-lfs.github.com/spec/v1\noid sha256:00\n");
    fails(look(), ERR_DATA, "model.safetensors: git-lfs pointer");
}

/* A good file cut at each length is refused; nothing is believed before the size fits. */
static void test_cuts(void)
{
    put_weights("model.safetensors", "{\"a\":" A(0, 8) "}", 8);
    struct buf b;
    buf_init(&b);
    int bad = io_read_file(&b, path_of("model.safetensors"), 4096) < 0 || look() != 1;
    for (size_t n = 0; n < b.len; n++) {
        put("model.safetensors", b.data, n);
        bad += look() != -1 || err_kind() != ERR_DATA;
    }
    ok(bad == 0 && b.len > 60, "refused at each of %zu lengths", b.len);
    buf_release(&b);
}

static void test_dtypes(void)
{
    put_weights("model.safetensors",
                "{\"a\":{\"dtype\":\"F8_E4M3\",\"shape\":[2],\"data_offsets\":[0,2]},"
                "\"b\":{\"dtype\":\"U8\",\"shape\":[1,1,1,1,1],\"data_offsets\":[2,3]},"
                "\"c\":{\"dtype\":\"I64\",\"shape\":[],\"data_offsets\":[3,11]}}",
                11);
    struct store *s = open_root();
    struct tensor t;
    fails(store_find(&t, s, "a"), ERR_CONFIG, "a: dtype F8_E4M3, which is not known");
    fails(store_find(&t, s, "b"), ERR_CONFIG, "b: 5 dims, the limit is 4");
    ok(store_find(&t, s, "c") == 1 && t.dtype == DT_I64 && t.ndim == 0, "a scalar");
    ok(store_find(&t, s, "d") == 0, "an absent name is no error");
    store_close(s);
}

/* A child of ours maps the weights, which then shrink: one line, status 74. */
static void read_shrunk(int fd)
{
    dup2(fd, STDERR_FILENO);
    cli_name("child");
    cli_catch_sigbus();
    struct store *s = open_root();
    struct tensor t;
    int rc = s ? store_find(&t, s, "a") : -1;
    if (rc != 1 || truncate(path_of("model.safetensors"), 100) < 0)
        _exit(1);
    double sum = 0;
    for (int64_t i = 0; i < tensor_count(t); i++)
        sum += tensor_at(t, i);
    _exit(sum < 0);
}

static void test_shrinking(void)
{
    put_weights("model.safetensors",
                "{\"a\":{\"dtype\":\"U8\",\"shape\":[100000],\"data_offsets\":[0,100000]}}",
                100000);
    int fds[2], status = 0;
    char said[256] = "";
    if (pipe(fds) < 0)
        return;
    pid_t pid = fork();
    if (pid == 0)
        read_shrunk(fds[1]);
    close(fds[1]);
    ssize_t n = io_read_full(fds[0], said, sizeof said - 1);
    close(fds[0]);
    waitpid(pid, &status, 0);
    ok(n > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 74 &&
           !strcmp(said, "child: a mapped file changed: it became shorter while it was read\n"),
       "a file that shrinks while it is read: status %d, %s", WEXITSTATUS(status), said);
}

/* ---- which files ---- */

static void test_missing(void)
{
    ok(!store_open("/nonexistent/m") && err_kind() == ERR_NOINPUT, "no directory: %s",
       err_msg());
    unlink(path_of("model.safetensors"));
    fails(look(), ERR_NOINPUT, "no model.safetensors and no model.safetensors.index.json");
    put_text("pytorch_model.bin", "PK");
    fails(look(), ERR_NOINPUT, "only .bin files, which are pickles and never read");
    unlink(path_of("pytorch_model.bin"));
    unlink(path_of("config.json"));
    fails(look(), ERR_NOINPUT, "config.json: No such file");
}

static const struct {
    const char *text, *says;
} configs[] = {
    { "[]", "config.json: JSON array, expected an object" },
    { "{\"a\":1,\"\\u0061\":2}", "config.json: JSON at byte" },
    { "{", "config.json: JSON at byte" },
    { "", "config.json: JSON at byte" },
    { "version https://git-lfs.github.com/spec/v1\n", "config.json: git-lfs pointer" },
};

static void test_config_files(void)
{
    for (size_t i = 0; i < sizeof configs / sizeof *configs; i++) {
        put_text("config.json", configs[i].text);
        fails(look(), ERR_DATA, configs[i].says);
    }
    char deep[200] = "{\"a\":";
    memset(deep + 5, '[', 40);
    put_text("config.json", deep);
    fails(look(), ERR_DATA, "config.json: JSON nested 41 deep, the limit is 32");
    put_text("config.json", "{}");
}

static void test_shards(void)
{
    put_weights("s1.safetensors", "{\"a\":" A(0, 8) "}", 8);
    put_text("model.safetensors.index.json",
             "{\"weight_map\":{\"a\":\"s1.safetensors\",\"b\":\"s2.safetensors\"}}");
    fails(look(), ERR_NOINPUT,
          "s2.safetensors: missing shard, one of 2 that model.safetensors.index.json names");
    put_weights("s2.safetensors", "{\"c\":" A(0, 8) "}", 8);
    fails(look(), ERR_DATA, "index.json: tensor b: not in s2.safetensors");
    put_weights("s2.safetensors", "{\"a\":" A(0, 8) ",\"b\":" A(8, 16) "}", 16);
    fails(look(), ERR_DATA, "tensor a is in two files");
    put_weights("s2.safetensors", "{\"b\":" A(0, 8) "}", 8);
    ok(look() == 1, "two shards make one store");
    put_text("model.safetensors.index.json", "{\"weight_map\":{\"a\":\"../s1.safetensors\"}}");
    fails(look(), ERR_DATA, "weight_map: a: expected a file name");
    put_text("model.safetensors.index.json", "{\"weight_map\":{}}");
    fails(look(), ERR_DATA, "weight_map: 0 files, expected 1 to 1024");
    put_text("model.safetensors.index.json", "{}");
    fails(look(), ERR_DATA, "weight_map: 0 files");
    unlink(path_of("model.safetensors.index.json"));
    unlink(path_of("s1.safetensors"));
    unlink(path_of("s2.safetensors"));
}

/* ---- config.json by table ---- */

struct conf {
    int64_t size, other;
    double eps;
    bool bias;
    int act;
};

static const char *const acts[] = { "gelu", "relu", "quick_gelu", NULL };
static const struct store_config conf_keys[] = {
    STORE_CONFIG_INT(struct conf, size, "hidden_size", 1408, 1, 16384),
    STORE_CONFIG_INT(struct conf, other, "old.name|new_name", -1, 0, 9),
    STORE_CONFIG_FLOAT(struct conf, eps, "eps", 1e-6, 0, 1),
    STORE_CONFIG_BOOL(struct conf, bias, "bias", true),
    STORE_CONFIG_WORD(struct conf, act, "act", 0, acts),
    STORE_CONFIG_END,
};

static int read_conf(struct conf *c, const char *config, const char *section)
{
    put_text("config.json", config);
    struct store *s = open_root();
    int rc = s ? store_config(c, s, section, conf_keys) : -2;
    store_close(s);
    return rc;
}

static void test_config_values(void)
{
    struct conf c;
    ok(read_conf(&c, "{\"v\":{\"hidden_size\":null}}", "v") == 0 && c.size == 1408 &&
           c.other == -1 && c.eps == 1e-6 && c.bias && c.act == 0,
       "what is absent or null has the class's default");
    ok(read_conf(&c, "{}", "v") == 0 && c.size == 1408, "an absent section too");
    ok(read_conf(&c,
                 "{\"v\":{\"hidden_size\":64,\"new_name\":7,\"eps\":1e-5,\"bias\":false,"
                 "\"act\":\"quick_gelu\",\"junk\":{}}}",
                 "v") == 0 &&
           c.size == 64 && c.other == 7 && c.eps == 1e-5 && !c.bias && c.act == 2,
       "each type is read");
    ok(read_conf(&c, "{\"old\":{\"name\":3},\"new_name\":7,\"eps\":0}", "") == 0 &&
           c.other == 3 && c.eps == 0,
       "the first spelling wins; a path has dots; an integer is a number");
    ok(read_conf(&c, "{\"hidden_size\":[224,224]}", "") == 0 && c.size == 224, "[224, 224]");
}

static const struct {
    const char *text, *says;
} conf_faults[] = {
    { "{\"v\":{\"hidden_size\":-3}}",
      "config.json: v.hidden_size: -3, expected an integer from 1 to 16384" },
    { "{\"v\":{\"hidden_size\":16385}}", "v.hidden_size: 16385, expected" },
    { "{\"v\":{\"hidden_size\":64.5}}", "v.hidden_size: 64.5, expected" },
    { "{\"v\":{\"hidden_size\":\"64\"}}", "v.hidden_size: \"64\", expected" },
    { "{\"v\":{\"hidden_size\":[224,225]}}", "v.hidden_size: [224,225], expected" },
    { "{\"v\":{\"hidden_size\":9223372036854775807}}", "v.hidden_size: 9223372036854775807" },
    { "{\"v\":{\"old\":{\"name\":10}}}", "v.old.name: 10, expected an integer from 0 to 9" },
    { "{\"v\":{\"eps\":true}}", "v.eps: true, expected a number from 0 to 1" },
    { "{\"v\":{\"bias\":1}}", "v.bias: 1, expected true or false" },
    { "{\"v\":{\"act\":\"swish\"}}", "v.act: \"swish\", expected gelu, relu or quick_gelu" },
    { "{\"v\":{\"act\":2}}", "v.act: 2, expected gelu" },
    { "{\"v\":7}", "config.json: v: 7, expected an object" },
};

static void test_config_faults(void)
{
    struct conf c;
    for (size_t i = 0; i < sizeof conf_faults / sizeof *conf_faults; i++)
        fails(read_conf(&c, conf_faults[i].text, "v"), ERR_CONFIG, conf_faults[i].says);
}

/* ---- binding ---- */

struct layer {
    struct tensor w, b, extra;
};
static const struct store_bind layer_bind[] = {
    STORE_BIND(struct layer, w, "w", "3D,F"),
    STORE_BIND_F32(struct layer, b, "b", "3D"),
    STORE_BIND_OPTIONAL(struct layer, extra, "extra", "D"),
    STORE_BIND_END,
};
#define BIND_HEADER                                                                            \
    "{\"l.0.w\":{\"dtype\":\"F16\",\"shape\":[6,1],\"data_offsets\":[0,12]},"                  \
    "\"l.0.b\":{\"dtype\":\"BF16\",\"shape\":[6],\"data_offsets\":[12,24]},"                   \
    "\"pad\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[24,25]},"                       \
    "\"l.1.w\":{\"dtype\":\"F16\",\"shape\":[6,1],\"data_offsets\":[25,37]},"                  \
    "\"l.1.b\":{\"dtype\":\"F32\",\"shape\":[6],\"data_offsets\":[37,61]},"                    \
    "\"l.1.extra\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[61,69]},"                \
    "\"l.2.w\":{\"dtype\":\"F16\",\"shape\":[1,6],\"data_offsets\":[69,81]},"                  \
    "\"l.2.b\":{\"dtype\":\"I32\",\"shape\":[6],\"data_offsets\":[81,105]},"                   \
    "\"l.2.extra\":{\"dtype\":\"F32\",\"shape\":[3],\"data_offsets\":[105,117]}}"

static void test_bind(void)
{
    put_text("config.json", "{}");
    put_weights("model.safetensors", BIND_HEADER, 117);
    struct store *s = open_root();
    struct arena mem;
    arena_init(&mem);
    struct store_dims dims = { .of = { ['D' - 'A'] = 2, ['F' - 'A'] = 1 } };
    struct layer l, m;
    ok(store_bind(&l, s, "l.%d.", 0, layer_bind, &dims, &mem) == 0 && l.w.dtype == DT_F16 &&
           l.b.dtype == DT_F32 && ((float *)l.b.data)[0] == dtype_bf16_to_f32(0x0d0c) &&
           !l.extra.data,
       "a layer is bound: a view as stored, a bias as f32, nothing for what may be absent");
    ok(store_bind(&m, s, "l.%d.", 1, layer_bind, &dims, &mem) == 0 &&
           (uintptr_t)m.w.data % 2 == 0 && *(uint16_t *)m.w.data == 0x1a19 &&
           (uintptr_t)m.b.data % 4 == 0 && *(uint32_t *)m.b.data == 0x28272625 && m.extra.data,
       "data that is not aligned is copied");
    fails(store_bind(&m, s, "l.%d.", 2, layer_bind, &dims, &mem), ERR_CONFIG,
          "l.2.w: shape (1, 6), expected (6, 1) (and 2 more)");
    fails(store_bind(&m, s, "l.%d.", 3, layer_bind, &dims, &mem), ERR_CONFIG,
          "l.3.w: no such tensor in the checkpoint (and 1 more)");
    fails(store_bind(&m, s, "l.2.", 0, &layer_bind[1], &dims, &mem), ERR_CONFIG,
          "l.2.b: dtype i32, expected f32, f16 or bf16 (and 1 more)");
    arena_release(&mem);
    store_close(s);
}

/* ---- the fingerprint ---- */

static int same_print(char *keep)
{
    struct store *s = open_root();
    const char *f = s ? store_fingerprint(s) : NULL;
    int same = f && !strcmp(f, keep);
    snprintf(keep, 65, "%s", f ? f : "");
    store_close(s);
    return same;
}

static void test_fingerprint(void)
{
    char print[65] = "";
    same_print(print);
    ok(strlen(print) == 64 && same_print(print), "a fingerprint is 64 digits: %s", print);
    put_text("config.json", "{ }");
    ok(!same_print(print), "config.json is in it");
    put_weights("model.safetensors", "{\"a\":" A(0, 8) "}", 8);
    ok(!same_print(print), "the weights are in it");
    unlink(path_of("model.safetensors"));
    struct store *s = open_root();
    ok(s && !store_fingerprint(s) && err_kind() == ERR_NOINPUT, "no weights, no fingerprint");
    store_close(s);
}

/* ---- the fixtures: what Python's safetensors reads ---- */

#include "store_sums.h"

/* Sum of the values and of value * (1 + index mod 7), in double: a value in a wrong place
 * shows. */
static int right_sums(struct tensor t, const struct sums *want)
{
    double sum = 0, mixed = 0;
    for (int64_t i = 0; i < tensor_count(t); i++) {
        double v = tensor_at(t, i);
        sum += v;
        mixed += v * (double)(1 + i % 7);
    }
    return t.dtype == want->dtype && fabs(sum - want->sum) <= 1e-9 * (1 + fabs(want->sum)) &&
           fabs(mixed - want->mixed) <= 1e-9 * (1 + fabs(want->mixed));
}

static void test_fixtures(void)
{
    const char *open = "";
    struct store *s = NULL;
    for (size_t i = 0; i < sizeof sums / sizeof *sums; i++) {
        const struct sums *want = &sums[i];
        char name[256];
        snprintf(name, sizeof name, "checkpoints/%s/config.json", want->checkpoint);
        const char *config = tap_fixture(name);
        if (strcmp(open, want->checkpoint)) {
            open = want->checkpoint;
            store_close(s);
            s = NULL;
            if (!config) {
                skip(want->checkpoint);
                continue;
            }
            snprintf(name, sizeof name, "%.*s", (int)(strlen(config) - 12), config);
            s = store_open(name);
            ok(s && store_fingerprint(s), "%s opens", want->checkpoint);
        }
        struct tensor t;
        if (s)
            ok(store_find(&t, s, want->name) == 1 && right_sums(t, want), "%s: %s", open,
               want->name);
    }
    store_close(s);
}

/* ---- the hub's cache ---- */

static void make_dirs(const char *const *names)
{
    for (; *names; names++)
        mkdir(path_of(*names), 0777);
}

#define COMMIT  "0123456789abcdef0123456789abcdef01234567"
#define COMMIT2 "1123456789abcdef0123456789abcdef01234567"

static int find(const char *name)
{
    char dir[1024];
    int rc = hub_find(dir, sizeof dir, path_of("hub"), name);
    if (rc == 0)
        rc = strstr(dir, COMMIT2) ? 2 : strstr(dir, COMMIT) != NULL;
    return rc;
}

static void test_hub_names(void)
{
    ok(hub_is_name("a/b") && hub_is_name("Org-1/n.a_me@main") && hub_is_name("a/b@refs/pr/3"),
       "names of models");
    ok(!hub_is_name("a") && !hub_is_name("./a") && !hub_is_name("../b") &&
           !hub_is_name("/a/b") && !hub_is_name("a/b/c") && !hub_is_name("a/") &&
           !hub_is_name("a/.b") && !hub_is_name("a/b@") && !hub_is_name("a/b@../c") &&
           !hub_is_name("a/b@c/../d") && !hub_is_name("a b/c") && !hub_is_name(""),
       "paths and tricks are not");
}

static void test_hub(void)
{
    make_dirs((const char *const[]){ "hub", "hub/models--o--n", "hub/models--o--n/refs",
                                     "hub/models--o--n/snapshots", NULL });
    fails(find("o/absent"), ERR_NOINPUT, "o/absent: not in /tmp/vqa-store-");
    fails(find("o/n"), ERR_NOINPUT, "no snapshot in it: an unfinished download");
    make_dirs((const char *const[]){ "hub/models--o--n/snapshots/" COMMIT, NULL });
    ok(find("o/n") == 1, "the only snapshot");
    make_dirs((const char *const[]){ "hub/models--o--n/snapshots/" COMMIT2, NULL });
    fails(find("o/n"), ERR_NOINPUT, "2 snapshots and no refs/main");
    put_text("hub/models--o--n/refs/main", COMMIT2);
    put_text("hub/models--o--n/refs/old", COMMIT "\n");
    put_text("hub/models--o--n/refs/gone", "2123456789abcdef0123456789abcdef01234567");
    put_text("hub/models--o--n/refs/bad", "../../../etc");
    ok(find("o/n") == 2 && find("o/n@main") == 2 && find("o/n@old") == 1, "refs");
    ok(find("o/n@" COMMIT) == 1, "a commit");
    fails(find("o/n@v9"), ERR_NOINPUT, "no revision v9");
    fails(find("o/n@gone"), ERR_NOINPUT, "no such snapshot");
    fails(find("o/n@bad"), ERR_DATA, "refs/bad: expected a commit");
    fails(find("o/n@2123456789abcdef0123456789abcdef01234567"), ERR_NOINPUT,
          "no such snapshot");
    fails(find("o"), ERR_NOINPUT, "expected ORG/NAME");
}

int main(void)
{
    if (!mkdtemp(root))
        return 71;
    test_headers();
    test_frames();
    test_cuts();
    test_dtypes();
    test_shrinking();
    test_missing();
    test_config_files();
    test_shards();
    test_config_values();
    test_config_faults();
    test_bind();
    test_fingerprint();
    test_fixtures();
    test_hub_names();
    test_hub();
    char remove[64];
    snprintf(remove, sizeof remove, "rm -rf %s", root);
    return system(remove) != 0 || tap_done();
}
