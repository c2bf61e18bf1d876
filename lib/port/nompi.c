/* nompi.c - in place of mpi.c where there is no MPI to build with: see mpi.h. */
#include "base/err.h"
#include "port/mpi.h"

#include <string.h>

bool mpi_built(void)
{
    return false;
}

int mpi_begin(int *rank, int *size)
{
    (void)rank;
    (void)size;
    return err_set(ERR_UNAVAIL, "this build has no MPI: install libopenmpi-dev and make again");
}

void mpi_end(void)
{
}

void mpi_abort(int status)
{
    (void)status;
}

int mpi_gather(void *ctx, void *all, const void *own, size_t bytes)
{
    (void)ctx;
    memcpy(all, own, bytes);
    return 0;
}

int mpi_sum(void *ctx, float *x, size_t n)
{
    (void)ctx;
    (void)x;
    (void)n;
    return 0;
}

int mpi_sum_double(void *ctx, double *x, size_t n)
{
    (void)ctx;
    (void)x;
    (void)n;
    return 0;
}
