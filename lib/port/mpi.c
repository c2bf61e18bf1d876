/* mpi.c - see mpi.h. Counts in MPI are int, so long arrays go in stretches. */
#include "port/mpi.h"

#include "base/err.h"

#include <mpi.h>
#include <string.h>

#define STRETCH ((size_t)1 << 26) /* items */

static int check(int rc, const char *what)
{
    char text[MPI_MAX_ERROR_STRING];
    int n = 0;
    if (rc == MPI_SUCCESS)
        return 0;
    MPI_Error_string(rc, text, &n);
    return err_set(ERR_UNAVAIL, "MPI: %s: %.*s", what, n, text);
}

bool mpi_built(void)
{
    return true;
}

int mpi_begin(int *rank, int *size)
{
    if (check(MPI_Init(NULL, NULL), "cannot begin") < 0 ||
        check(MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN), "errors") < 0 ||
        check(MPI_Comm_rank(MPI_COMM_WORLD, rank), "rank") < 0)
        return -1;
    return check(MPI_Comm_size(MPI_COMM_WORLD, size), "size");
}

void mpi_end(void)
{
    MPI_Finalize();
}

void mpi_abort(int status)
{
    MPI_Abort(MPI_COMM_WORLD, status);
}

static size_t stretch(size_t n, size_t at)
{
    return n - at < STRETCH ? n - at : STRETCH;
}

/* Each rank in turn tells the others: long pieces need no room beside `all`. */
int mpi_gather(void *ctx, void *all, const void *own, size_t bytes)
{
    int rank, size;
    (void)ctx;
    if (check(MPI_Comm_rank(MPI_COMM_WORLD, &rank), "rank") < 0 ||
        check(MPI_Comm_size(MPI_COMM_WORLD, &size), "size") < 0)
        return -1;
    memcpy((char *)all + (size_t)rank * bytes, own, bytes);
    for (int root = 0; root < size; root++)
        for (size_t at = 0; at < bytes; at += STRETCH)
            if (check(MPI_Bcast((char *)all + (size_t)root * bytes + at,
                                (int)stretch(bytes, at), MPI_BYTE, root, MPI_COMM_WORLD),
                      "gather") < 0)
                return -1;
    return 0;
}

/* To rank 0 and back, so that every rank has the same bits. */
static int sum(char *x, size_t n, size_t item, MPI_Datatype type)
{
    int rank;
    if (check(MPI_Comm_rank(MPI_COMM_WORLD, &rank), "rank") < 0)
        return -1;
    for (size_t at = 0; at < n; at += STRETCH) {
        int count = (int)stretch(n, at);
        char *p = x + at * item;
        if (check(
                MPI_Reduce(rank ? p : MPI_IN_PLACE, p, count, type, MPI_SUM, 0, MPI_COMM_WORLD),
                "sum") < 0 ||
            check(MPI_Bcast(p, count, type, 0, MPI_COMM_WORLD), "sum") < 0)
            return -1;
    }
    return 0;
}

int mpi_sum(void *ctx, float *x, size_t n)
{
    (void)ctx;
    return sum((char *)x, n, sizeof *x, MPI_FLOAT);
}

int mpi_sum_double(void *ctx, double *x, size_t n)
{
    (void)ctx;
    return sum((char *)x, n, sizeof *x, MPI_DOUBLE);
}
