/* models.h - vqa models: which models are on this machine, where, and whether they are whole.
 */
#ifndef FRONT_MODELS_H
#define FRONT_MODELS_H

/* The subcommand; argv[0] is its name. Gives an exit status. */
int front_models(int argc, char **argv);

#endif
