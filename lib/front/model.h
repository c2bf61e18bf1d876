/* model.h - which model: -m, else $VQA_MODEL, else the one that is shipped. */
#ifndef FRONT_MODEL_H
#define FRONT_MODEL_H

#include <stddef.h>

/* The model's directory. arg: -m's value (a directory or ORG/NAME[@REV] in the Hugging Face
 * cache), or NULL. -1 with err set: ERR_NOINPUT names where it looked. */
int front_model(char *dir, size_t n, const char *arg);

#endif
