/* config.c - config.json by tables of keys: see store.h. */
#include "base/buf.h"
#include "base/err.h"
#include "store/open.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The value at a path with dots; NULL if absent or null. */
static const json_t *at(const json_t *j, const char *path, size_t n)
{
    while (j && n) {
        const char *dot = memchr(path, '.', n);
        size_t len = dot ? (size_t)(dot - path) : n;
        char key[64];
        if (len >= sizeof key)
            return NULL;
        memcpy(key, path, len);
        key[len] = '\0';
        j = json_object_get(j, key);
        size_t step = dot ? len + 1 : len;
        path += step;
        n -= step;
    }
    return json_is_null(j) ? NULL : j;
}

/* The first spelling that is there; its name into spelled. */
static const json_t *any_of(char spelled[64], const json_t *section, const char *keys)
{
    for (const char *end; *keys; keys = *end ? end + 1 : end) {
        end = strchrnul(keys, '|');
        const json_t *j = at(section, keys, (size_t)(end - keys));
        size_t n = (size_t)(end - keys);
        if (j && n < 64) {
            memcpy(spelled, keys, n);
            spelled[n] = '\0';
            return j;
        }
    }
    return NULL;
}

/* ERR_CONFIG with what was got, shortened, and what was expected. */
static int unexpected(const json_t *got, const char *expected)
{
    char *text = json_dumps(got, JSON_ENCODE_ANY | JSON_COMPACT);
    int rc = err_set(ERR_CONFIG, "%.60s, expected %s", text ? text : "?", expected);
    free(text);
    return rc;
}

/* [224, 224] is 224: newer configurations give image_size as a pair. */
static const json_t *single(const json_t *j)
{
    const json_t *a = json_array_get(j, 0), *b = json_array_get(j, 1);
    bool pair = json_array_size(j) == 2 && json_is_integer(a) && json_equal((json_t *)a, b);
    return pair ? a : j;
}

static int set_int(int64_t *out, const json_t *j, const struct store_config *k)
{
    const json_t *v = single(j);
    if (json_is_integer(v)) {
        *out = json_integer_value(v);
        if ((double)*out >= k->min && (double)*out <= k->max)
            return 0;
    }
    char want[96];
    snprintf(want, sizeof want, "an integer from %.0f to %.0f", k->min, k->max);
    return unexpected(j, want);
}

static int set_float(double *out, const json_t *j, const struct store_config *k)
{
    if (json_is_number(j)) {
        *out = json_number_value(j);
        if (*out >= k->min && *out <= k->max)
            return 0;
    }
    char want[96];
    snprintf(want, sizeof want, "a number from %g to %g", k->min, k->max);
    return unexpected(j, want);
}

static int set_bool(bool *out, const json_t *j)
{
    *out = json_is_true(j);
    return json_is_boolean(j) ? 0 : unexpected(j, "true or false");
}

static int set_word(int *out, const json_t *j, const struct store_config *k)
{
    const char *word = json_string_value(j);
    for (int i = 0; word && k->words[i]; i++)
        if (!strcmp(word, k->words[i])) {
            *out = i;
            return 0;
        }
    char want[256] = "";
    for (int i = 0; k->words[i]; i++) {
        size_t n = strlen(want);
        snprintf(want + n, sizeof want - n, "%s%s",
                 i == 0            ? ""
                 : k->words[i + 1] ? ", "
                                   : " or ",
                 k->words[i]);
    }
    return unexpected(j, want);
}

static void set_default(void *out, const struct store_config *k)
{
    if (k->type == STORE_INT)
        *(int64_t *)out = (int64_t)k->def;
    else if (k->type == STORE_FLOAT)
        *(double *)out = k->def;
    else if (k->type == STORE_BOOL)
        *(bool *)out = k->def != 0;
    else
        *(int *)out = (int)k->def;
}

static int set(void *out, const json_t *j, const struct store_config *k)
{
    switch (k->type) {
    case STORE_INT:
        return set_int(out, j, k);
    case STORE_FLOAT:
        return set_float(out, j, k);
    case STORE_BOOL:
        return set_bool(out, j);
    default:
        return set_word(out, j, k);
    }
}

int store_config(void *out, const struct store *s, const char *section,
                 const struct store_config *keys)
{
    const json_t *from = at(s->config, section, strlen(section));
    const char *dot = *section ? "." : "";
    if (from && !json_is_object(from)) {
        unexpected(from, "an object");
        return err_wrap("config.json: %s", section);
    }
    for (const struct store_config *k = keys; k->type != STORE_END; k++) {
        void *field = (char *)out + k->offset;
        char spelled[64];
        const json_t *j = any_of(spelled, from, k->key);
        if (!j)
            set_default(field, k);
        else if (set(field, j, k) < 0)
            return err_wrap("config.json: %s%s%s", section, dot, spelled);
    }
    return 0;
}

static const json_t *lookup(const struct store *s, const char *section, const char *key)
{
    return at(at(s->config, section, strlen(section)), key, strlen(key));
}

bool store_config_has(const struct store *s, const char *section, const char *key)
{
    return lookup(s, section, key) != NULL;
}

const char *store_config_str(const struct store *s, const char *section, const char *key)
{
    const json_t *j = lookup(s, section, key);
    const char *v = json_string_value(json_is_array(j) ? json_array_get(j, 0) : j);
    return v ? v : "";
}
