/* outfile.h - a file that appears complete or not at all: it is written beside its place, under
 * another name, and renamed when it is whole. A device, a pipe or a link to a descriptor
 * (/dev/null, /dev/stdout) keeps its name, and is written to as it is.
 *
 * Owns:    fd and the temporary name, until outfile_publish() or outfile_discard().
 * Errors:  -1 with err set (ERR_IO). */
#ifndef BASE_OUTFILE_H
#define BASE_OUTFILE_H

struct outfile {
    int fd;
    const char *path; /* the caller's string; NULL: nothing to publish or discard */
    char tmp[4096];   /* empty: written in place */
};

int outfile_open(struct outfile *o, const char *path);

/* Closes it and gives it its name. On failure it is discarded. */
int outfile_publish(struct outfile *o);

/* Removes what was not published; does nothing otherwise. */
void outfile_discard(struct outfile *o);

#endif
