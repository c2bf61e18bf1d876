/* screen.c - see screen.h. */
#include "front/screen.h"

#include "base/base64.h"
#include "base/err.h"
#include "base/utf8.h"
#include "cli/env.h"
#include "front/filter.h"

#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

const char *const screen_words[] = {
    "auto", "kitty", "sixel", "symbols", "ascii", "none", NULL
};

static bool env_is(const char *name, const char *const *prefixes)
{
    const char *v = env_get(name);
    for (; v && *prefixes; prefixes++)
        if (!strncmp(v, *prefixes, strlen(*prefixes)))
            return true;
    return false;
}

/* Terminals are not asked, because the answer would have to be read from a keyboard; within
 * tmux and screen pictures get lost. */
static enum screen_kind of_terminal(void)
{
    static const char *const kitty[] = { "xterm-kitty", "xterm-ghostty", NULL };
    static const char *const wezterm[] = { "WezTerm", NULL };
    static const char *const sixel[] = { "foot", "mlterm", "yaft", "contour", NULL };
    if (env_get("TMUX") || env_get("STY"))
        return SCREEN_SYMBOLS;
    if (env_is("TERM", kitty) || env_get("KITTY_WINDOW_ID") || env_is("TERM_PROGRAM", wezterm))
        return SCREEN_KITTY;
    if (env_is("TERM", sixel) || (env_get("TERM") && strstr(env_get("TERM"), "sixel")))
        return filter_there("img2sixel") || filter_there("chafa") ? SCREEN_SIXEL
                                                                  : SCREEN_SYMBOLS;
    return SCREEN_SYMBOLS;
}

enum screen_kind screen_choose(enum screen_kind asked)
{
    if (asked != SCREEN_AUTO)
        return asked;
    if (!isatty(STDOUT_FILENO))
        return SCREEN_NONE;
    return env_colour(STDOUT_FILENO) ? of_terminal() : SCREEN_ASCII;
}

/* Characters of the terminal, less a line for the prompt. */
static void measure(int *columns, int *lines)
{
    struct winsize w;
    bool known = ioctl(STDOUT_FILENO, TIOCGWINSZ, &w) == 0 && w.ws_col >= 20 && w.ws_row >= 8;
    *columns = known ? w.ws_col : 80;
    *lines = (known ? w.ws_row : 24) - 1;
}

static int gnuplot(struct buf *out, const struct plot_panel *p, int n,
                   const struct plot_canvas *c)
{
    static const char *const argv[] = { "gnuplot", "-d", NULL };
    struct buf script = { 0 };
    int rc = plot_script(&script, p, n, c);
    if (rc == 0)
        rc = filter_run(out, argv, "gnuplot-nox", script.data, script.len);
    buf_release(&script);
    if (rc == 0 && out->len == 0)
        rc = err_set(ERR_UNAVAIL, "gnuplot: drew nothing");
    return rc;
}

/* A PNG in kitty's graphics protocol, which terminals unpack themselves. */
static int kitty(struct buf *out, const struct buf *png)
{
    struct buf text = { 0 };
    int rc = base64_append(&text, png->data, png->len);
    for (size_t at = 0, n; at < text.len && rc == 0; at += n) {
        n = text.len - at < 4096 ? text.len - at : 4096;
        rc = buf_printf(out, "\033_G%sm=%d;%.*s\033\\", at ? "" : "a=T,f=100,",
                        at + n < text.len, (int)n, (char *)text.data + at);
    }
    buf_release(&text);
    return rc < 0 ? -1 : buf_putc(out, '\n');
}

static int chafa(struct buf *out, const char *format, const struct buf *png, int columns,
                 int lines)
{
    char size[32];
    snprintf(size, sizeof size, "--size=%dx%d", columns, lines);
    const char *const argv[] = { "chafa", "-f", format, size, "-", NULL };
    return filter_run(out, argv, "chafa", png->data, png->len);
}

static int sixel(struct buf *out, const struct buf *png, int columns, int lines)
{
    static const char *const argv[] = { "img2sixel", "-", NULL };
    return filter_there("img2sixel")
               ? filter_run(out, argv, "libsixel-bin", png->data, png->len)
               : chafa(out, "sixel", png, columns, lines);
}

/* Text from anywhere for a terminal: no control characters, whole lines. */
static int put_title(struct buf *out, const char *s, int columns)
{
    int rc = 0, at = 0;
    for (size_t len; *s && rc == 0; s += len) {
        len = utf8_char(s, strlen(s));
        bool plain = len && (unsigned char)*s >= 0x20 && *s != 0x7f;
        len += len == 0;
        if (*s == '\n')
            at = 0;
        if (at++ < columns || *s == '\n')
            rc = plain ? buf_append(out, s, len) : buf_putc(out, *s == '\n' ? '\n' : '?');
    }
    return rc < 0 ? -1 : buf_putc(out, '\n');
}

/* Chafa's symbols show more than half blocks do; the text stays text. */
static int picture(struct buf *out, enum screen_kind kind, const struct plot_panel *p,
                   int columns, int lines)
{
    struct buf png = { 0 };
    if (kind == SCREEN_ASCII || !filter_there("chafa"))
        return plot_blocks(out, p, columns, lines, kind != SCREEN_ASCII);
    int rc = gnuplot(&png, p, 1, &(struct plot_canvas){ .target = PLOT_BARE });
    if (rc == 0)
        rc = chafa(out, "symbols", &png, columns, lines);
    buf_release(&png);
    return rc;
}

static int draw_text(struct buf *out, enum screen_kind kind, const struct plot_panel *p,
                     int columns, int lines)
{
    if (!plot_is_image(p))
        return gnuplot(out, p, 1,
                       &(struct plot_canvas){ .target = PLOT_TEXT,
                                              .width = columns - 1,
                                              .height = lines,
                                              .colour = kind != SCREEN_ASCII });
    return put_title(out, p->title, columns) < 0 ||
                   picture(out, kind, p, columns, lines - 2) < 0
               ? -1
               : 0;
}

int screen_draw(struct buf *out, enum screen_kind kind, const struct plot_panel *p, int n,
                int width, int height)
{
    struct plot_canvas c = { .target = PLOT_PNG, .width = width, .height = height };
    struct buf png = { 0 };
    int columns, lines, rc = 0;
    measure(&columns, &lines);
    if (kind == SCREEN_NONE)
        return gnuplot(out, p, n, &c);
    for (int i = 0; i < n && rc == 0 && kind >= SCREEN_SYMBOLS; i++)
        rc = draw_text(out, kind, &p[i], columns, lines);
    if (kind < SCREEN_SYMBOLS) {
        rc = gnuplot(&png, p, n, &c);
        if (rc == 0)
            rc = kind == SCREEN_KITTY ? kitty(out, &png) : sixel(out, &png, columns, lines);
    }
    buf_release(&png);
    return rc;
}
