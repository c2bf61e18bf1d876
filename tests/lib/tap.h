/* tap.h - unit tests that print TAP. A test program is a main() of ok() calls and `return
 * tap_done();`. Where a file of the fixtures is needed, tap_fixture() finds it or the test
 * skips. */
#ifndef LIB_TAP_H
#define LIB_TAP_H

#include "base/err.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int tap_count, tap_failed;

__attribute__((format(printf, 2, 3), unused)) static int ok(int cond, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    printf("%sok %d - ", cond ? "" : "not ", ++tap_count);
    vprintf(fmt, ap);
    putchar('\n');
    va_end(ap);
    tap_failed += !cond;
    return cond;
}

/* The call failed as documented: return value, kind and a part of the message, all three. */
#define fails(call, kind, text)                                                                \
    ok((err_clear(), (call) < 0) && err_kind() == (kind) && strstr(err_msg(), (text)),         \
       "%s fails: %s (%s)", #call, text, err_msg())

/* max |got - want| / max |want| and relative L2, as fixtures/README.md states its tolerances.
 */
__attribute__((unused)) static int near(const float *got, const float *want, long n,
                                        double max_rel, double l2_rel, const char *what)
{
    double worst = 0, top = 0, dd = 0, ww = 0;
    for (long i = 0; i < n; i++) {
        double d = (double)got[i] - want[i];
        worst = fmax(worst, isfinite(d) ? fabs(d) : INFINITY);
        top = fmax(top, fabs((double)want[i]));
        dd += d * d;
        ww += (double)want[i] * want[i];
    }
    double rel = top > 0 ? worst / top : worst, l2 = ww > 0 ? sqrt(dd / ww) : sqrt(dd);
    return ok(rel <= max_rel && l2 <= l2_rel, "%s: max %.1e of max value (<= %.0e), L2 %.1e",
              what, rel, max_rel, l2);
}

/* Path of a file of the shared fixtures, NULL if they are absent on this machine. */
__attribute__((unused)) static const char *tap_fixture(const char *name)
{
    static char path[4][1024];
    static int turn;
    const char *root = getenv("VQA_FIXTURES");
    char *p = path[turn++ & 3];
    snprintf(p, sizeof path[0], "%s/%s", root && *root ? root : "../shared/fixtures", name);
    FILE *f = fopen(p, "r");
    if (!f)
        return NULL;
    fclose(f);
    return p;
}

__attribute__((unused)) static void skip(const char *why)
{
    printf("ok %d # SKIP %s\n", ++tap_count, why);
}

static int tap_done(void)
{
    printf("1..%d\n", tap_count);
    return tap_failed != 0;
}

#endif
