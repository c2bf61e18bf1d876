/* keys.h - key files, the list of who may connect, and which addresses need neither.
 *
 * A key is 32 bytes as Z85: one line of 40 characters. A secret key's file belongs to us and is
 * nobody else's to read; the list of clients is nobody else's to write.
 *
 * Errors:  -1 with err set: ERR_CONFIG, ERR_NOINPUT, ERR_USAGE. */
#ifndef SERVE_KEYS_H
#define SERVE_KEYS_H

#include "port/port.h"

/* NAME.key (mode 0600, never replaced) and NAME.pub. */
int serve_keys_make(const char *name);

/* A client's: its secret key, and the public one of the server. */
int serve_keys_client(struct port_keys *k, const char *secret, const char *server);
int serve_keys_server(struct port_keys *k, const char *secret);

/* One public key a line, then a blank and whatever helps people; # comments. Read whole before
 * the old list goes; an empty one is an error. */
struct serve_list {
    char (*key)[PORT_KEY];
    int n;
};
int serve_list_read(struct serve_list *l, const char *path);
void serve_list_release(struct serve_list *l);
bool serve_list_has(void *list, const char key[PORT_KEY]);

/* 1 if only this machine reaches it (ipc, 127.0.0.0/8, ::1, localhost), 0 if others do, -1 if
 * it is no endpoint. */
int serve_is_local(const char *endpoint);

#endif
