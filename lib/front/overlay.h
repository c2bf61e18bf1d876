/* overlay.h - attention laid over the picture it looks at.
 *
 * A map holds weights of patches, left to right and top to bottom, a class token before them or
 * not: (S), (Q, S) for queries, (H, Q, S) and (L, H, Q, S), of which heads and layers are
 * averaged. */
#ifndef FRONT_OVERLAY_H
#define FRONT_OVERLAY_H

#include "front/panels.h"

/* A panel for each query (or the one, or the mean, that p->args asks for): errors as panels.h
 * says. */
int overlay_add(struct panels *p, struct record *rec, const char *field, struct tensor map);

#endif
