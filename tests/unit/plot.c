/* plot.c - lib/plot: colours, characters, and that nothing of a text reaches gnuplot as it is.
 */
#include "plot/plot.h"
#include "lib/tap.h"

#include <math.h>
#include <stdlib.h>

/* matplotlib 3.11's viridis at i / 255, every 17th. */
static const int viridis[][3] = {
    { 68, 1, 84 },    { 72, 26, 108 },  { 71, 47, 125 },  { 65, 68, 135 },
    { 57, 86, 140 },  { 49, 104, 142 }, { 42, 120, 142 }, { 35, 136, 142 },
    { 31, 152, 139 }, { 34, 168, 132 }, { 53, 183, 121 }, { 84, 197, 104 },
    { 122, 209, 81 }, { 165, 219, 54 }, { 210, 226, 27 }, { 253, 231, 37 },
};

static void test_colours(void)
{
    int worst = 0;
    for (int i = 0; i < 16; i++) {
        unsigned char c[3];
        plot_colour(c, i / 15.0);
        for (int k = 0; k < 3; k++)
            worst = abs(c[k] - viridis[i][k]) > worst ? abs(c[k] - viridis[i][k]) : worst;
    }
    ok(worst <= 2, "viridis: %d of 255 off at most", worst);
    unsigned char low[3], high[3];
    plot_colour(low, -9);
    plot_colour(high, 9);
    ok(low[2] == 84 && high[0] == 253, "beyond the ends are the ends");
}

static void test_heat(void)
{
    struct arena mem = { 0 };
    double v[] = { 1, 2, NAN, 3, INFINITY, 1 };
    struct plot_values values;
    struct plot_panel p = { .kind = PLOT_HEAT, .title = "t" };
    ok(plot_values_take(&values, tensor_2d(v, DT_F64, 2, 3), NULL, &mem) == 0 &&
           values.bad == 2 && values.min == 1 && values.max == 3,
       "two of six are not finite");
    ok(plot_heat(&p, &values, &mem) == 0 && p.rgb[0] == 68 && p.rgb[9] == 253 &&
           p.rgb[6] == 255 && p.rgb[12] == 255 && p.bar,
       "dark, bright, and white for what is not finite");
    struct plot_slice s;
    fails(plot_slice_parse(&s, "0:0:0"), ERR_USAGE, "slice '0:0:0'");
    plot_slice_parse(&s, "0");
    plot_values_take(&values, tensor_2d(v, DT_F64, 2, 3), &s, &mem);
    fails(plot_heat(&p, &values, &mem), ERR_DATA, "(3,): expected two axes");
    arena_release(&mem);
}

/* Two pixels above two: each half block shows one above one. */
static void test_blocks(void)
{
    static const unsigned char rgb[12] = { 255, 0, 0, 0, 255, 0, 0, 0, 255, 0, 0, 0 };
    struct plot_panel p = { .kind = PLOT_RGB, .width = 2, .height = 2, .rgb = rgb };
    struct buf b = { 0 };
    plot_blocks(&b, &p, 2, 1, true);
    ok(!strcmp(buf_str(&b), "\033[38;2;255;0;0;48;2;0;0;255m\xe2\x96\x80"
                            "\033[38;2;0;255;0;48;2;0;0;0m\xe2\x96\x80\033[0m\n"),
       "two half blocks");
    buf_clear(&b);
    plot_blocks(&b, &p, 1, 9, false);
    ok(!strcmp(buf_str(&b), ":\n"), "all in one character: their mean");
    buf_release(&b);
}

static bool within(const struct buf *b, const char *s)
{
    return memmem(b->data, b->len, s, strlen(s)) != NULL;
}

static void test_script(void)
{
    static const double v[] = { 1, 2 };
    static const char *label[] = { "`100%`" };
    static const unsigned char rgb[6] = { 0 };
    struct plot_panel p = { .kind = PLOT_MATRIX,
                            .title = "a'\"`b`\n@c\\\033[1m \xff\xc3\xa9",
                            .rows = 1,
                            .cols = 2,
                            .v = v,
                            .label = label,
                            .width = 2,
                            .height = 1,
                            .rgb = rgb };
    struct buf b = { 0 };
    ok(plot_script(&b, &p, 1, &(struct plot_canvas){ .target = PLOT_PNG }) == 0 &&
           within(&b, "set title \"a\\047\\042\\140b\\140\".\"\\n\"."
                      "\"\\100c\\134?[1m ?\\303\\251\" noenhanced\n"),
       "a title is escaped");
    ok(within(&b, "(\"\\140100\\045\\045\\140\" 0)"),
       "a tic's name is escaped, and per cent twice");
    buf_release(&b);
}

int main(void)
{
    test_colours();
    test_heat();
    test_blocks();
    test_script();
    return tap_done();
}
