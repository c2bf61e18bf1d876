/* keys.c - see keys.h. */
#include "serve/keys.h"

#include "base/err.h"
#include "base/io.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_MAX ((size_t)1 << 20)

/* The whole file into b, if it is a plain one of ours and nobody else has any of the `mode`
 * bits.
 */
static int read_own(struct buf *b, const char *path, mode_t mode, const char *what)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0)
        return errno == ELOOP
                   ? err_set(ERR_CONFIG, "%s: a symbolic link, expected %s", path, what)
                   : err_sys(ERR_NOINPUT, "%s", path);
    int rc = 0;
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
        rc = err_set(ERR_CONFIG, "%s: not a plain file, expected %s", path, what);
    else if (st.st_uid != geteuid() && st.st_uid != 0)
        rc = err_set(ERR_CONFIG, "%s: belongs to user %d, expected %d", path, (int)st.st_uid,
                     (int)geteuid());
    else if (st.st_mode & mode)
        rc = err_set(ERR_CONFIG, "%s: mode %04o, expected %04o: others could %s it", path,
                     (unsigned)st.st_mode & 07777, (unsigned)(st.st_mode & 07777 & ~mode),
                     mode & 044 ? "read" : "change");
    else if ((size_t)st.st_size > FILE_MAX || buf_reserve(b, (size_t)st.st_size + 1) < 0)
        rc = err_set(ERR_CONFIG, "%s: too large for %s", path, what);
    else {
        ssize_t n = io_read_full(fd, b->data, (size_t)st.st_size);
        rc = n < 0 ? err_wrap("%s", path) : 0;
        b->len = n < 0 ? 0 : (size_t)n;
        b->data[b->len] = '\0';
    }
    close(fd);
    return rc;
}

static void forget(struct buf *b)
{
    if (b->data)
        explicit_bzero(b->data, b->cap);
    buf_release(b);
}

/* The key that the file's first line begins with. */
static int read_key(char key[PORT_KEY], const char *path, mode_t mode, const char *what)
{
    struct buf b = { 0 };
    int rc = read_own(&b, path, mode, what);
    if (rc == 0) {
        b.data[strcspn((char *)b.data, " \t\r\n")] = '\0';
        if (port_is_key((char *)b.data))
            memcpy(key, b.data, PORT_KEY);
        else
            rc = err_set(ERR_CONFIG, "%s: not a key: one line of %d characters (vqa-keygen)",
                         path, PORT_KEY - 1);
    }
    forget(&b);
    return rc;
}

int serve_keys_server(struct port_keys *k, const char *secret)
{
    if (read_key(k->secret, secret, 077, "a secret key") < 0)
        return -1;
    return port_public_of(k->public, k->secret) < 0 ? err_wrap("%s", secret) : 0;
}

int serve_keys_client(struct port_keys *k, const char *secret, const char *server)
{
    return serve_keys_server(k, secret) < 0 ? -1
                                            : read_key(k->theirs, server, 022, "a public key");
}

static int create(const char *path, mode_t mode, const char *key)
{
    char line[PORT_KEY + 1];
    int n = snprintf(line, sizeof line, "%s\n", key);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode);
    if (fd < 0)
        return err_sys(errno == EEXIST ? ERR_USAGE : ERR_IO, "%s", path);
    int rc = fchmod(fd, mode) < 0 ? err_sys(ERR_IO, "%s", path)
                                  : io_write_full(fd, line, (size_t)n);
    explicit_bzero(line, sizeof line);
    if (close(fd) < 0 && rc == 0)
        rc = err_sys(ERR_IO, "%s", path);
    return rc;
}

int serve_keys_make(const char *name)
{
    char public[PORT_KEY], secret[PORT_KEY], path[4096];
    if (snprintf(path, sizeof path, "%s.pub", name) >= (int)sizeof path)
        return err_set(ERR_USAGE, "%s: name too long", name);
    if (access(path, F_OK) == 0)
        return err_set(ERR_USAGE, "%s: File exists", path);
    if (port_keypair(public, secret) < 0)
        return -1;
    snprintf(path, sizeof path, "%s.key", name);
    int rc = create(path, 0600, secret);
    explicit_bzero(secret, sizeof secret);
    snprintf(path, sizeof path, "%s.pub", name);
    return rc < 0 ? -1 : create(path, 0644, public);
}

/* ---- the list of clients ---- */

static int add_line(struct serve_list *l, char *line, const char *path, int number)
{
    line[strcspn(line, "\r\n")] = '\0';
    line += strspn(line, " \t");
    if (*line == '#' || !*line)
        return 0;
    line[strcspn(line, " \t")] = '\0';
    if (!port_is_key(line))
        return err_set(ERR_CONFIG, "%s: line %d: not a public key (vqa-keygen)", path, number);
    void *more = realloc(l->key, ((size_t)l->n + 1) * sizeof *l->key);
    if (!more)
        return err_nomem("the list of clients");
    l->key = more;
    memcpy(l->key[l->n++], line, PORT_KEY);
    return 0;
}

int serve_list_read(struct serve_list *l, const char *path)
{
    struct serve_list fresh = { 0 };
    struct buf b = { 0 };
    int rc = read_own(&b, path, 022, "a list of clients' public keys");
    char *next = (char *)b.data;
    for (int number = 1; rc == 0 && next && *next; number++) {
        char *line = next, *end = strchr(next, '\n');
        next = end ? end + 1 : NULL;
        if (end)
            *end = '\0';
        rc = add_line(&fresh, line, path, number);
    }
    if (rc == 0 && fresh.n == 0)
        rc = err_set(ERR_CONFIG, "%s: no key in it: nobody could connect", path);
    buf_release(&b);
    struct serve_list gone = rc == 0 ? *l : fresh;
    if (rc == 0)
        *l = fresh;
    serve_list_release(&gone);
    return rc;
}

void serve_list_release(struct serve_list *l)
{
    free(l->key);
    *l = (struct serve_list){ 0 };
}

bool serve_list_has(void *list, const char key[PORT_KEY])
{
    const struct serve_list *l = list;
    for (int i = 0; i < l->n; i++)
        if (!strcmp(l->key[i], key))
            return true;
    return false;
}

int serve_is_local(const char *endpoint)
{
    static const char *const local[] = { "ipc://", "tcp://localhost:", "tcp://[::1]:", NULL };
    for (const char *const *p = local; *p; p++)
        if (!strncmp(endpoint, *p, strlen(*p)))
            return 1;
    if (strncmp(endpoint, "tcp://", 6) != 0)
        return err_set(ERR_USAGE, "%s: not an endpoint (tcp://HOST:PORT or ipc://PATH)",
                       endpoint);
    unsigned a, b, c;
    int n = 0;
    return sscanf(endpoint, "tcp://127.%3u.%3u.%3u:%n", &a, &b, &c, &n) == 3 && n > 0;
}
