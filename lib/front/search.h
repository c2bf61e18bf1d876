/* search.h - vqa search: the pictures that fit a sentence best. */
#ifndef FRONT_SEARCH_H
#define FRONT_SEARCH_H

/* The subcommand's main: argv[0] is its name. Gives the exit status. */
int front_search(int argc, char **argv);

#endif
