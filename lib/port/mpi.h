/* mpi.h - several processes that mpirun started: what each has, gathered and summed. The
 * functions fit struct train_comm.
 *
 * Built where MPI is; elsewhere mpi_begin() says that it is not, and nothing else is called.
 * Bits:    sums are the same on every rank.
 * Errors:  -1 with err set (ERR_UNAVAIL). MPI itself ends all ranks when one is lost. */
#ifndef PORT_MPI_H
#define PORT_MPI_H

#include <stdbool.h>
#include <stddef.h>

bool mpi_built(void);

/* Whoever began ends, which waits for the others; a process that mpirun did not start is one of
 * one. */
int mpi_begin(int *rank, int *size);
void mpi_end(void);

/* Ends all ranks now, wherever they are: for what one of them alone knows. */
void mpi_abort(int status);

/* all = own of rank 0, own of rank 1, ...: bytes of each. */
int mpi_gather(void *ctx, void *all, const void *own, size_t bytes);

/* x becomes the sum of all ranks' x. */
int mpi_sum(void *ctx, float *x, size_t n);
int mpi_sum_double(void *ctx, double *x, size_t n);

#endif
