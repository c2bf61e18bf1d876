/* screen.h - plots on paper or in a terminal: gnuplot draws, chafa or img2sixel show, and where
 * there is neither, characters do.
 *
 * Errors:  -1 with err set: ERR_UNAVAIL a program that is needed is not installed or failed. */
#ifndef FRONT_SCREEN_H
#define FRONT_SCREEN_H

#include "plot/plot.h"

/* In the order of screen_words: what --terminal takes. */
enum screen_kind {
    SCREEN_AUTO,
    SCREEN_KITTY,
    SCREEN_SIXEL,
    SCREEN_SYMBOLS, /* coloured blocks, text as text */
    SCREEN_ASCII,
    SCREEN_NONE /* PNG */
};
extern const char *const screen_words[];

/* What AUTO means for standard output: NONE if it is no terminal, ASCII for NO_COLOR and
 * TERM=dumb, else what the terminal says of itself in its environment. */
enum screen_kind screen_choose(enum screen_kind asked);

/* The panels (with KITTY, SIXEL and NONE in a grid, else one below the other), as bytes for
 * standard output. width and height: pixels of a PNG, 0: what suits. */
int screen_draw(struct buf *out, enum screen_kind kind, const struct plot_panel *p, int n,
                int width, int height);

#endif
