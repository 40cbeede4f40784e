#define _GNU_SOURCE
#include "frame.h"

#include <stdio.h>
#include <string.h>

/* The nonce and its answer are the example of RFC 6455 section 1.3, so no SHA-1 is needed here. */
static const char NONCE[] = "dGhlIHNhbXBsZSBub25jZQ==";
static const char ACCEPT[] = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

static const uint8_t MASK[4] = {0x9d, 0x3a, 0x51, 0xc7};

static const char OFFER[] = "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; "
                            "client_no_context_takeover\r\n";

size_t upgrade_request(char *out, size_t room, const char *path, int port, bool deflate)
{
    int size = snprintf(out, room,
                        "GET %s HTTP/1.1\r\n"
                        "Host: 127.0.0.1:%d\r\n"
                        "Upgrade: websocket\r\n"
                        "Connection: Upgrade\r\n"
                        "Sec-WebSocket-Key: %s\r\n"
                        "Sec-WebSocket-Version: 13\r\n"
                        "%s\r\n",
                        path, port, NONCE, deflate ? OFFER : "");
    return (size_t)size;
}

long upgrade_response(const char *data, size_t size, bool deflate)
{
    const char *end = memmem(data, size, "\r\n\r\n", 4);
    if (end == NULL)
        return 0;
    size_t head = (size_t)(end - data) + 4;
    if (head < 12 || memcmp(data, "HTTP/1.1 101", 12) != 0)
        return -1;
    if (memmem(data, head, ACCEPT, sizeof ACCEPT - 1) == NULL)
        return -1;
    if (deflate && memmem(data, head, "permessage-deflate", 18) == NULL)
        return -1;
    return (long)head;
}

static size_t client_head(uint8_t *out, int opcode, size_t size)
{
    size_t at = 2;
    out[0] = (uint8_t)(0x80 | opcode);
    if (size < 126) {
        out[1] = (uint8_t)(0x80 | size);
    } else {
        int width = size < 65536 ? 2 : 8;
        out[1] = (uint8_t)(0x80 | (width == 2 ? 126 : 127));
        for (int shift = 8 * (width - 1); shift >= 0; shift -= 8)
            out[at++] = (uint8_t)((uint64_t)size >> shift);
    }
    memcpy(out + at, MASK, sizeof MASK);
    return at + sizeof MASK;
}

size_t client_frame(uint8_t *out, int opcode, const uint8_t *payload, size_t size)
{
    size_t at = client_head(out, opcode, size);
    for (size_t i = 0; i < size; i++)
        out[at + i] = payload[i] ^ MASK[i & 3];
    return at + size;
}

void fill_payload(uint8_t *out, size_t size)
{
    uint32_t state = 1;
    for (size_t i = 0; i < size; i++) {
        state = state * 1664525u + 1013904223u;
        out[i] = (uint8_t)(' ' + (state >> 24) % 95);
    }
}

/* Bytes a head needs, judged by its first two. */
static size_t head_length(const uint8_t *head)
{
    uint8_t length = head[1] & 0x7f;
    return length < 126 ? 2 : length == 126 ? 4 : 10;
}

static uint64_t payload_length(const uint8_t *head, size_t head_size)
{
    if (head_size == 2)
        return head[1] & 0x7f;
    uint64_t length = 0;
    for (size_t i = 2; i < head_size; i++)
        length = length << 8 | head[i];
    return length;
}

/* Accept a complete head; false for what section 5 forbids a server, with the extension and without. */
static bool accept_head(struct frame_reader *reader, const uint8_t *head, size_t head_size)
{
    uint8_t opcode = head[0] & 0x0f;
    bool control = opcode >= OP_CLOSE;
    int reserved = reader->deflate && !control && opcode != OP_CONTINUATION ? RSV1 : 0;
    if ((head[0] & 0x70) != reserved || (head[1] & 0x80) != 0)
        return false;
    if (opcode > OP_PONG || (opcode > OP_BINARY && !control))
        return false;
    if (control ? !(head[0] & 0x80) || head_size > 2 : reader->in_message != (opcode == OP_CONTINUATION))
        return false;
    if (control)
        reader->control_position = 0;
    else if (opcode != OP_CONTINUATION)
        reader->position = 0;
    reader->opcode = opcode;
    reader->final = (head[0] & 0x80) != 0;
    reader->left = payload_length(head, head_size);
    reader->in_payload = true;
    if (!control)
        reader->in_message = !reader->final;
    return true;
}

long read_head(struct frame_reader *reader, const uint8_t *data, size_t size)
{
    if (reader->head_size == 0 && size >= 2) {
        size_t need = head_length(data);
        if (size >= need)
            return accept_head(reader, data, need) ? (long)need : -1;
    }
    size_t used = 0;
    while (used < size) {
        reader->head[reader->head_size++] = data[used++];
        if (reader->head_size < 2 || reader->head_size < head_length(reader->head))
            continue;
        size_t need = reader->head_size;
        reader->head_size = 0;
        return accept_head(reader, reader->head, need) ? (long)used : -1;
    }
    return (long)used;
}
