/* numpy.h - arrays as msgpack-numpy 0.4.8 writes them: a map with bin keys nd, type, kind,
 * shape, data. Private to lib/wire. */
#ifndef WIRE_NUMPY_H
#define WIRE_NUMPY_H

#include "base/arena.h"
#include "tensor/tensor.h"
#include "wire/unpack.h"

/* Reads the map at u as an array. 1 and *t (aligned, little-endian, perhaps copied into mem;
 * mem NULL: data only if no copy is needed), 0 if it is some other map (or an element type we
 * do not compute with), -1 if it claims to be an array and is a lie: negative or overflowing
 * shape, length that is not the shape's, pickled objects. */
int numpy_read(struct tensor *t, struct unpack u, struct arena *mem);

/* "<f4" for DT_F32, and so on. bf16 has no numpy name: it travels as "<u2" with bf16: true. */
const char *numpy_type(enum dtype t);

#endif
