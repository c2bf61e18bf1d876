/* lavis.h - LAVIS, where BLIP-2 was first trained, names tensors otherwise than Hugging Face.
 * Source: transformers' convert_blip_2_original_to_pytorch.py, read backwards. */
#ifndef STORE_LAVIS_H
#define STORE_LAVIS_H

#include <stdbool.h>
#include <stddef.h>

/* LAVIS's name of the tensor that Hugging Face calls `name`; false if it has no other. */
bool lavis_name(char *out, size_t size, const char *name);

#endif
