/* WebSocket bytes (RFC 6455), without any socket: what a client sends, and a reader of what it gets. */
#ifndef FRAME_H
#define FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum opcode { OP_CONTINUATION = 0, OP_TEXT = 1, OP_BINARY = 2, OP_CLOSE = 8, OP_PING = 9, OP_PONG = 10 };

enum { MAX_CONTROL = 125, MAX_CLIENT_HEAD = 14, MAX_SERVER_HEAD = 10 };

/* Write the upgrade request for `path` into `out`, NUL-terminated; returns its length. With `deflate`
 * it offers permessage-deflate (RFC 7692) without windows that are kept. */
size_t upgrade_request(char *out, size_t room, const char *path, int port, bool deflate);

/* Length of the response head at `data`, 0 while it is incomplete, -1 when it is not a right 101, or
 * one that takes no offer of `deflate`. */
long upgrade_response(const char *data, size_t size, bool deflate);

/* Added to the opcode of a message whose payload is deflated. */
enum { RSV1 = 0x40 };

/* Write one masked, final frame into `out` (size + MAX_CLIENT_HEAD bytes at most); returns its length. */
size_t client_frame(uint8_t *out, int opcode, const uint8_t *payload, size_t size);

/* Fill `out` with printable ASCII whose pattern does not repeat within a message of ordinary size. */
void fill_payload(uint8_t *out, size_t size);

/* Where the reader stands within the bytes of one connection. Zeroed is the start. */
struct frame_reader {
    uint8_t head[MAX_SERVER_HEAD];
    uint8_t head_size;   /* bytes of an unfinished head in `head` */
    uint8_t opcode;      /* of the frame whose payload is being read */
    bool final;
    bool in_payload;
    bool in_message;     /* a fragmented message is open */
    bool deflate;        /* every message has to come deflated; set by the user of the reader */
    uint64_t left;       /* payload bytes still to come */
    uint64_t position;   /* payload bytes of this message already seen */
    uint8_t control_position; /* payload bytes of this control frame already seen */
};

/* Take the next frame head from `data`. Returns the bytes used, or -1 for a frame no server may send.
 * When the head is complete `in_payload` is set; a frame without payload has `left` == 0 then. */
long read_head(struct frame_reader *reader, const uint8_t *data, size_t size);

#endif
