/* cache.h - vqa cache: what the cache of embeddings holds, whether it is sound, and less of it.
 */
#ifndef FRONT_CACHE_H
#define FRONT_CACHE_H

/* The subcommand; argv[0] is its name. Gives an exit status. */
int front_cache(int argc, char **argv);

#endif
