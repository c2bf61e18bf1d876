/* model.h - which model: -m, else $VQA_MODEL, else the one that is shipped. */
#ifndef FRONT_MODEL_H
#define FRONT_MODEL_H

#include <stdbool.h>
#include <stddef.h>

/* The model's directory. arg: -m's value (a directory or ORG/NAME[@REV] in the Hugging Face
 * cache), or NULL. -1 with err set: ERR_NOINPUT names where it looked and what would bring the
 * model. */
int front_model(char *dir, size_t n, const char *arg);

/* The Hugging Face cache: $HF_HUB_CACHE ($HUGGINGFACE_HUB_CACHE), $HF_HOME/hub,
 * $XDG_CACHE_HOME/huggingface/hub, ~/.cache/huggingface/hub. false if none of them is set, or
 * too long. It need not exist. */
bool front_hub_cache(char *dir, size_t n);

#endif
