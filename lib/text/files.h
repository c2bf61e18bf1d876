/* files.h - the tokenizer files of a checkpoint, read into tables: tokenizer.json, or
 * vocab.json with merges.txt, or vocab.txt, with the small files beside them.
 *
 * What a tokenizer.json asks for and this library does not do (another normaliser, a prefix
 * blank, byte fallback, ...) is refused by name: never silently different ids.
 *
 * Errors:  -1 with err set: ERR_NOINPUT no such files, ERR_DATA damaged, ERR_CONFIG asking for
 *          what is not done here. */
#ifndef TEXT_FILES_H
#define TEXT_FILES_H

#include "text/added.h"
#include "text/merges.h"
#include "text/vocab.h"

struct files {
    struct vocab vocab; /* with the added tokens */
    struct added added;
    struct merges merges; /* empty for WordPiece */
    int64_t bos;          /* what the template begins with, -1: nothing */
};

void files_release(struct files *f);

int files_read_bpe(struct files *f, const char *dir);
int files_read_wordpiece(struct files *f, const char *dir);

#endif
