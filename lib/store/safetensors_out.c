/* safetensors_out.c - see safetensors_out.h. */
#include "store/safetensors_out.h"

#include "base/err.h"
#include "base/io.h"
#include "base/utf8.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *type_name(enum dtype t)
{
    static const char *const names[] = {
        [DT_NONE] = "",   [DT_F32] = "F32", [DT_F16] = "F16", [DT_BF16] = "BF16",
        [DT_F64] = "F64", [DT_I8] = "I8",   [DT_U8] = "U8",   [DT_BOOL] = "BOOL",
        [DT_I32] = "I32", [DT_I64] = "I64", [DT_I4] = "",
    };
    return names[t];
}

int safetensors_out_open(struct safetensors_out *o, const char *path)
{
    *o = (struct safetensors_out){ .header = json_object(), .data_fd = -1 };
    if (!o->header)
        return err_nomem("header");
    if (outfile_open(&o->file, path) < 0)
        return -1;
    unlink(o->file.tmp); /* this one lives as long as its descriptor, for the data */
    o->data_fd = o->file.fd;
    return outfile_open(&o->file, path);
}

bool safetensors_out_has(const struct safetensors_out *o, const char *name)
{
    return json_object_get(o->header, name) != NULL;
}

int safetensors_out_add(struct safetensors_out *o, const char *name, struct tensor t)
{
    size_t n = tensor_bytes(t);
    if (!utf8_valid(name, strlen(name)))
        return err_set(ERR_DATA, "tensor name is not UTF-8");
    json_t *shape = json_array();
    for (int i = 0; shape && i < t.ndim; i++)
        json_array_append_new(shape, json_integer(t.dim[i]));
    json_t *entry = json_pack("{s:s, s:o, s:[I, I]}", "dtype", type_name(t.dtype), "shape",
                              shape, "data_offsets", (json_int_t)o->bytes,
                              (json_int_t)(o->bytes + n));
    if (json_object_set_new(o->header, name, entry) < 0)
        return err_nomem("header");
    o->bytes += n;
    return io_write_full(o->data_fd, t.data, n);
}

static int put_header(struct safetensors_out *o)
{
    char *text = json_dumps(o->header, JSON_COMPACT);
    if (!text)
        return err_nomem("header");
    size_t n = strlen(text), padded = (n + 7) & ~(size_t)7; /* so that data begin aligned */
    unsigned char size[8];
    for (int i = 0; i < 8; i++)
        size[i] = (unsigned char)(padded >> 8 * i);
    int rc = io_write_full(o->file.fd, size, sizeof size);
    if (rc == 0)
        rc = io_write_full(o->file.fd, text, n);
    if (rc == 0)
        rc = io_write_full(o->file.fd, "       ", padded - n);
    free(text);
    return rc;
}

static int copy_data(struct safetensors_out *o)
{
    static const size_t piece = 1 << 20;
    char *buf = malloc(piece);
    if (!buf)
        return err_nomem("copying");
    ssize_t got = lseek(o->data_fd, 0, SEEK_SET) < 0 ? err_sys(ERR_IO, "seek") : 0;
    if (got == 0)
        while ((got = io_read_some(o->data_fd, buf, piece)) > 0)
            if (io_write_full(o->file.fd, buf, (size_t)got) < 0) {
                got = -1;
                break;
            }
    free(buf);
    return got < 0 ? -1 : 0;
}

int safetensors_out_finish(struct safetensors_out *o)
{
    if (put_header(o) < 0 || copy_data(o) < 0)
        return err_wrap("%s", o->file.path);
    return outfile_publish(&o->file);
}

void safetensors_out_close(struct safetensors_out *o)
{
    json_decref(o->header);
    outfile_discard(&o->file);
    if (o->data_fd >= 0)
        close(o->data_fd);
    o->header = NULL;
}
