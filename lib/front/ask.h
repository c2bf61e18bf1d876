/* ask.h - vqa ask and vqa caption: start the stages, join them, print the answers. */
#ifndef FRONT_ASK_H
#define FRONT_ASK_H

/* The subcommands; argv[0] is the subcommand's name. They give an exit status. */
int front_ask(int argc, char **argv);
int front_caption(int argc, char **argv);

#endif
