/* stb.c - stb_image and stb_image_write, for PNG alone. The first runs behind png.c, which has
 * checked every chunk, and with bounded, cleared memory: a deflate stream longer than its
 * image, or an image that leaves pixels unset, gets nothing of ours. Its warnings are off. */
#include "image/codec.h"

#include "base/err.h"

#include <stdlib.h>

static _Thread_local size_t stb_most; /* of the present call */

static void *stb_malloc(size_t n)
{
    return n <= stb_most ? calloc(1, n ? n : 1) : NULL;
}

static void *stb_realloc(void *p, size_t n)
{
    return n <= stb_most ? realloc(p, n) : NULL;
}

#define STBI_MALLOC    stb_malloc
#define STBI_REALLOC   stb_realloc
#define STBI_FREE      free
#define STBI_ONLY_PNG  1
#define STBI_NO_STDIO  1
#define STBI_NO_LINEAR 1
#define STBI_NO_HDR    1
#define STB_IMAGE_STATIC
#define STB_IMAGE_IMPLEMENTATION
#include <stb_image.h>

unsigned char *image_stb_png(int *w, int *h, const unsigned char *p, size_t n, int channels,
                             size_t most, const char **why)
{
    int in_file;
    stb_most = most;
    unsigned char *px = stbi_load_from_memory(p, (int)n, w, h, &in_file, channels);
    *why = px ? NULL : stbi_failure_reason();
    return px;
}

/* ---- writing ---- */

#define STBI_WRITE_NO_STDIO 1
#define STB_IMAGE_WRITE_STATIC
#define STB_IMAGE_WRITE_IMPLEMENTATION
#include <stb_image_write.h>

struct stb_sink {
    struct buf *out;
    int rc;
};

static void stb_put(void *ctx, void *p, int n)
{
    struct stb_sink *s = ctx;
    s->rc = buf_append(s->out, p, (size_t)n);
}

int image_write_png(struct buf *out, const unsigned char *pixels, int w, int h, int channels)
{
    struct stb_sink s = { out, -1 };
    if (!stbi_write_png_to_func(stb_put, &s, w, h, channels, pixels, w * channels))
        return err_nomem("a PNG");
    return s.rc;
}
