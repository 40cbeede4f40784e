/* One client connection on epoll, from connect() to EOF, and the loop that drives all of them. */
#ifndef LINK_H
#define LINK_H

#include "frame.h"

#include <openssl/ssl.h>

enum link_state { LINK_FREE, LINK_CONNECTING, LINK_UPGRADING, LINK_OPEN, LINK_CLOSED };

struct link {
    int fd;
    SSL *tls;                 /* NULL in plain connections */
    uint32_t index;
    enum link_state state;
    bool verify;              /* compare the payload of the message being read with `expected` */
    bool pong_due;
    bool closing;             /* the server's Close has arrived */
    uint8_t control_size;
    uint8_t control[MAX_CONTROL];
    const uint8_t *out;       /* not yet accepted by the kernel; the memory outlives the link */
    size_t out_left;
    struct frame_reader reader;
    uint64_t received;        /* complete messages */
    uint32_t owed;            /* the mode's: messages it may send once `out` is empty */
    uint64_t *sent_at;        /* the mode's: ring of send times in ns */
    uint64_t sent;            /* the mode's */
    uint64_t started_at;      /* ns, when connect() was called */
};

/* What a mode does with the events of its links. Any may be NULL but `message`. */
struct mode {
    const char *name;
    void (*opened)(struct link *link);                 /* the 101 was right */
    void (*message)(struct link *link, uint64_t size); /* one whole data message */
    void (*batch)(struct link *link);                  /* all bytes of one recv were handed over */
    void (*drained)(struct link *link);                /* nothing is pending in `out` any more */
    void (*ended)(struct link *link);                  /* EOF behind a Close; the fd is closed already */
};

struct run {
    const struct mode *mode;
    int epoll_fd;
    int port;
    bool deflate;             /* links with path 0 offer and use compression */
    SSL_CTX *tls;             /* NULL for plain connections */
    bool spin;                /* poll without sleeping: the server never pays for waking this process */
    const uint8_t *expected;  /* payload that `verify` compares with */
    size_t expected_size;
    uint64_t now;             /* ns, CLOCK_MONOTONIC, read once per recv and per turn */
    uint64_t errors;
    char first_error[160];
    char requests[2][512];    /* upgrade request per path, see link_connect */
    size_t request_sizes[2];
};

extern struct run run;

uint64_t clock_ns(void);

/* Count an error and keep the text of the first; the run goes on to its end and then reports it. */
void report_error(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Create the epoll instance and the shared receive buffer. */
void loop_open(const struct mode *mode, int port, bool spin);

/* Have every link speak TLS, to whatever certificate. */
void use_tls(void);

/* Begin to connect; `path` is 0 or 1, an index into run.requests. */
void link_connect(struct link *link, int path);

/* Send `size` bytes, which must stay valid. Only to be called while link->out_left is 0. */
void link_write(struct link *link, const uint8_t *data, size_t size);

/* Close the socket in the ordinary way, without telling the mode. */
void link_close(struct link *link);

/* One turn: wait for readiness (at most a second) and handle it. Ends the process after 15 s of silence. */
void pump(void);

/* Print nothing, keep all links alive, return when a line or EOF arrives on stdin. */
void wait_for_line(void);

#endif
