/* line.c - see line.h. */
#include "front/line.h"

#include "cli/env.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define WIDEST 400

bool line_seen(void)
{
    return isatty(STDERR_FILENO);
}

/* Characters that can be written without the cursor going to the next line. */
static int room(void)
{
    struct winsize w;
    int columns = ioctl(STDERR_FILENO, TIOCGWINSZ, &w) == 0 && w.ws_col > 1 ? w.ws_col : 80;
    return columns <= WIDEST ? columns - 1 : WIDEST - 1;
}

static bool dumb(void)
{
    const char *term = env_get("TERM");
    return !term || !strcmp(term, "dumb");
}

void line_show(const char *fmt, ...)
{
    char text[WIDEST];
    int n = room();
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, (size_t)n + 1, fmt, ap);
    va_end(ap);
    if (dumb())
        fprintf(stderr, "\r%-*s", n, text);
    else
        fprintf(stderr, "\r%s\033[K", text);
}

void line_clear(void)
{
    if (dumb())
        fprintf(stderr, "\r%*s\r", room(), "");
    else
        fputs("\r\033[K", stderr);
}
