/* chat.h - vqa chat: a conversation about one picture. */
#ifndef FRONT_CHAT_H
#define FRONT_CHAT_H

/* The subcommand; argv[0] is its name. Gives an exit status. */
int front_chat(int argc, char **argv);

#endif
