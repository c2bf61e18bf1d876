/* sandbox.c - decoding apart: the same pixels, the same messages, and a way out for nobody. */
#include "base/buf.h"
#include "base/io.h"
#include "image/image.h"
#include "lib/tap.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

static void same(const char *name)
{
    struct buf b = { 0 };
    struct image here, there;
    const char *path = tap_fixture(name);
    if (!path) {
        skip("no fixtures");
        return;
    }
    io_read_file(&b, path, 1 << 26);
    int x = image_decode(&here, b.data, b.len, NULL);
    char why[512];
    snprintf(why, sizeof why, "%s", x < 0 ? err_msg() : "");
    int y = image_decode_apart(&there, b.data, b.len, NULL);
    ok(x == y &&
           (x < 0 ? !strcmp(why, err_msg())
                  : here.w == there.w && here.h == there.h &&
                        !memcmp(here.rgb, there.rgb, (size_t)here.w * (size_t)here.h * 3)),
       "%s: apart as here", name);
    image_release(&here);
    image_release(&there);
    buf_release(&b);
}

static int opens(struct image *out, void *ctx)
{
    (void)out;
    return open(ctx, O_RDONLY) < 0 ? err_set(ERR_DATA, "refused") : err_set(ERR_BUG, "open!");
}

static int connects(struct image *out, void *ctx)
{
    (void)out;
    (void)ctx;
    return socket(AF_INET, SOCK_STREAM, 0) < 0 ? err_set(ERR_DATA, "refused")
                                               : err_set(ERR_BUG, "a socket!");
}

static int forks(struct image *out, void *ctx)
{
    (void)out;
    (void)ctx;
    return fork() < 0 ? err_set(ERR_DATA, "refused") : err_set(ERR_BUG, "a process!");
}

static int executes(struct image *out, void *ctx)
{
    (void)out;
    (void)ctx;
    execl("/bin/true", "true", (char *)NULL);
    return err_set(ERR_BUG, "exec came back");
}

static int kills(struct image *out, void *ctx)
{
    (void)out;
    return kill(*(pid_t *)ctx, SIGTERM) < 0 ? err_set(ERR_DATA, "refused")
                                            : err_set(ERR_BUG, "a signal!");
}

static int crashes(struct image *out, void *ctx)
{
    (void)ctx;
    out->rgb = (unsigned char *)1;
    out->w = out->h = 4;
    return 0; /* the write of these pixels fails */
}

static int lies(struct image *out, void *ctx)
{
    (void)ctx;
    out->w = 1 << 30;
    out->h = 1 << 30;
    return 0;
}

static int eats(struct image *out, void *ctx)
{
    (void)out;
    (void)ctx;
    for (int i = 0; i < 4096; i++) {
        char *p = malloc(1 << 20);
        if (!p)
            return err_set(ERR_DATA, "no more memory");
        memset(p, 1, 1 << 20);
    }
    return err_set(ERR_BUG, "four gibibytes!");
}

static int loops(struct image *out, void *ctx)
{
    (void)out;
    for (volatile int *p = ctx; *p == 0;)
        ;
    return 0;
}

int main(void)
{
    struct image im;
    pid_t me = getpid();
    int zero = 0;
    same("images/astronaut_q90.jpg");
    same("images/coffee.png");
    same("images/animated.gif");
    same("images/README.md");
    fails(image_apart(&im, opens, "/etc/hostname"), ERR_DATA, "the decoder died on it");
    fails(image_apart(&im, connects, NULL), ERR_DATA, "the decoder died on it");
    fails(image_apart(&im, forks, NULL), ERR_DATA, "the decoder died on it");
    fails(image_apart(&im, executes, NULL), ERR_DATA, "the decoder died on it");
    fails(image_apart(&im, kills, &me), ERR_DATA, "the decoder died on it");
    fails(image_apart(&im, crashes, NULL), ERR_DATA, "the decoder broke off");
    fails(image_apart(&im, lies, NULL), ERR_DATA, "pixels");
    fails(image_apart(&im, loops, &zero), ERR_DATA, "longer than 10 s");
    fails(image_apart(&im, eats, NULL), ERR_DATA, ""); /* "no more memory", or dead of it */
    return tap_done();
}
