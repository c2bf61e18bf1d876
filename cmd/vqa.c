/* vqa - the front door: starts the stages and joins them. Manual: man/vqa.1. */
#include "cli/die.h"
#include "front/ask.h"
#include "front/cache.h"
#include "front/chat.h"
#include "front/embed.h"
#include "front/models.h"
#include "front/search.h"

#include <stdio.h>
#include <string.h>

static const struct {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *about;
} commands[] = {
    { "ask", front_ask, "ask questions about pictures" },
    { "caption", front_caption, "describe pictures" },
    { "chat", front_chat, "talk about one picture" },
    { "embed", front_embed, "a vector for each picture" },
    { "search", front_search, "pictures for a sentence, best first" },
    { "cache", front_cache, "the cache of embeddings: ls, du, verify, prune, rm" },
    { "models", front_models, "models on this machine: list, where, verify" },
};
#define COMMANDS (sizeof commands / sizeof *commands)

static int usage(void)
{
    puts("usage: vqa COMMAND [OPTION...] [OPERAND...]\n");
    for (size_t i = 0; i < COMMANDS; i++)
        printf("  %-10s %s\n", commands[i].name, commands[i].about);
    puts("\n'vqa COMMAND --help' says more; 'man 7 blip2' is the introduction.");
    return cli_finish(0);
}

static int is(const char *arg, const char *short_form, const char *long_form)
{
    return !strcmp(arg, short_form) || !strcmp(arg, long_form);
}

int main(int argc, char **argv)
{
    cli_name("vqa");
    if (argc < 2)
        cli_usage_error("no command; expected ask, caption, chat, embed, search, cache "
                        "or models");
    if (is(argv[1], "-h", "--help") || !strcmp(argv[1], "help"))
        return usage();
    if (is(argv[1], "-V", "--version")) {
        puts("vqa (vqatools) " VQA_VERSION);
        return cli_finish(0);
    }
    for (size_t i = 0; i < COMMANDS; i++)
        if (!strcmp(argv[1], commands[i].name))
            return commands[i].run(argc - 1, argv + 1);
    cli_usage_error("unknown command '%s'; to ask about a picture: vqa ask IMAGE QUESTION",
                    argv[1]);
}
