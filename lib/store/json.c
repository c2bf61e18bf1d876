/* json.c - see json.h. */
#include "store/json.h"

#include "base/buf.h"
#include "base/err.h"
#include "base/io.h"

#include <jansson.h>
#include <string.h>

bool store_is_lfs_pointer(const void *p, size_t n)
{
    static const char mark[] = "version https://git-lfs.github.com/spec/";
    return n >= sizeof mark - 1 && !memcmp(p, mark, sizeof mark - 1);
}

/* The deepest nesting; brackets inside strings do not count. The parser recurses, this does
 * not. */
static int nesting(const char *s, size_t n)
{
    int depth = 0, deepest = 0;
    bool quoted = false;
    for (size_t i = 0; i < n; i++) {
        if (quoted && s[i] == '\\')
            i++;
        else if (s[i] == '"')
            quoted = !quoted;
        else if (!quoted && (s[i] == '{' || s[i] == '['))
            deepest = ++depth > deepest ? depth : deepest;
        else if (!quoted && (s[i] == '}' || s[i] == ']'))
            depth--;
    }
    return deepest;
}

struct json_t *store_json_parse(const void *p, size_t n, int depth)
{
    if (store_is_lfs_pointer(p, n))
        return err_null(ERR_DATA, "git-lfs pointer, not the file itself; 'git lfs pull' in its "
                                  "directory brings it");
    int deepest = nesting(p, n);
    if (deepest > depth)
        return err_null(ERR_DATA, "JSON nested %d deep, the limit is %d", deepest, depth);
    json_error_t e;
    json_t *j = json_loadb(p, n, JSON_REJECT_DUPLICATES, &e);
    if (!j)
        return err_null(ERR_DATA, "JSON at byte %d: %s", e.position, e.text);
    if (json_is_object(j))
        return j;
    json_decref(j);
    return err_null(ERR_DATA, "JSON array, expected an object");
}

struct json_t *store_json_read(const char *path, size_t max, int depth)
{
    struct buf b;
    buf_init(&b);
    json_t *j = NULL;
    if (io_read_file(&b, path, max) == 0 && !(j = store_json_parse(b.data, b.len, depth)))
        err_wrap("%s", path);
    buf_release(&b);
    return j;
}
