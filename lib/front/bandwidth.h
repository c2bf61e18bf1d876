/* bandwidth.h - how fast this machine reads memory, to hold a rate of reading against. */
#ifndef FRONT_BANDWIDTH_H
#define FRONT_BANDWIDTH_H

#include "base/pool.h"

/* Bytes a second of all threads together, the best of three passes over 256 MiB: more than
 * caches hold, and about 0.2 s. -1 with err set (ERR_OS). */
int bandwidth_measure(double *bytes_per_second, struct pool *pool);

#endif
