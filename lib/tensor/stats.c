/* stats.c - summaries and differences: see stats.h. */
#include "tensor/stats.h"

#include <math.h>

struct tensor_stats tensor_stats(struct tensor t)
{
    struct tensor_stats s = { INFINITY, 0, -INFINITY, 0 };
    int64_t n = tensor_count(t);
    for (int64_t i = 0; i < n; i++) {
        double v = tensor_at(t, i);
        if (!isfinite(v)) {
            s.bad++;
            continue;
        }
        s.min = fmin(s.min, v);
        s.max = fmax(s.max, v);
        s.mean += v;
    }
    if (n == s.bad)
        return (struct tensor_stats){ NAN, NAN, NAN, s.bad };
    s.mean /= (double)(n - s.bad);
    return s;
}

static double distance(double a, double b)
{
    if (a == b || (isnan(a) && isnan(b)))
        return 0;
    double d = fabs(a - b);
    return isnan(d) ? INFINITY : d;
}

static double ratio(double part, double whole)
{
    return part == 0 ? 0 : part / whole;
}

struct tensor_diff tensor_diff(struct tensor a, struct tensor b)
{
    double top = 0, dd = 0, aa = 0, bb = 0, ab = 0;
    struct tensor_diff r = { 0 };
    int64_t n = tensor_count(a);
    for (int64_t i = 0; i < n; i++) {
        double x = tensor_at(a, i), y = tensor_at(b, i), d = distance(x, y);
        r.max_abs = fmax(r.max_abs, d);
        dd += d * d;
        if (!isfinite(x) || !isfinite(y))
            continue;
        top = fmax(top, fabs(y));
        aa += x * x;
        bb += y * y;
        ab += x * y;
    }
    r.max_rel = ratio(r.max_abs, top);
    r.l2 = ratio(sqrt(dd), sqrt(bb));
    r.cosine = aa == 0 && bb == 0 ? 1 : ratio(ab, sqrt(aa) * sqrt(bb));
    return r;
}
