/* special.h - which tokens are special, and which one a text begins with.
 *
 * Errors:  -1 with err set: ERR_DATA, ERR_CONFIG for what is not done here. */
#ifndef TEXT_SPECIAL_H
#define TEXT_SPECIAL_H

#include "text/files.h"

struct json_t;

/* added_tokens of tokenizer.json; NULL is an empty one. */
int special_array(struct files *f, struct json_t *array);

/* f->bos from post_processor of tokenizer.json: 1, 0 if it has no template. */
int special_bos_of_template(struct files *f, struct json_t *root);

/* f->bos from bos_token of the small files in dir, "</s>" if they do not say. */
int special_bos_of_config(struct files *f, const char *dir);

/* Added tokens of tokenizer_config.json, else of added_tokens.json and
 * special_tokens_map.json: for a checkpoint without tokenizer.json. */
int special_read(struct files *f, const char *dir);

#endif
