/* embed.h - vqa embed: a vector for each picture, as .npy matrices. */
#ifndef FRONT_EMBED_H
#define FRONT_EMBED_H

/* The subcommand; argv[0] is its name. Gives an exit status. */
int front_embed(int argc, char **argv);

#endif
