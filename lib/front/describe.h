/* describe.h - a record as a JSON object: what is in it, not the values of its tensors. */
#ifndef FRONT_DESCRIBE_H
#define FRONT_DESCRIBE_H

#include "wire/record.h"

#include <stdio.h>

/* One line: text and numbers as they are, a tensor as {dtype, shape, min, mean, max,
 * not_finite}, an error as {kind, stage, message}. */
void describe_json(FILE *f, const struct record *rec);

/* "str", "tensor", ... */
const char *describe_type(enum record_type t);

#endif
