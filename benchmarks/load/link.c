#define _GNU_SOURCE
#include "link.h"

#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { BUFFER_SIZE = 512 * 1024, EVENTS = 512, SILENCE_SECONDS = 15, SOURCE_ADDRESSES = 200 };

struct run run;

static uint8_t *buffer;
static bool line_arrived;
static bool stdin_watched;
static uint64_t last_event;

uint64_t clock_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

void report_error(const char *format, ...)
{
    if (run.errors++ > 0)
        return;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(run.first_error, sizeof run.first_error, format, arguments);
    va_end(arguments);
}

static void watch_stdin(void)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    stdin_watched = epoll_ctl(run.epoll_fd, EPOLL_CTL_ADD, STDIN_FILENO, &event) == 0;
}

void loop_open(const struct mode *mode, int port, bool spin)
{
    run.mode = mode;
    run.port = port;
    run.spin = spin;
    run.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    buffer = malloc(BUFFER_SIZE);
    if (run.epoll_fd < 0 || buffer == NULL) {
        perror("load");
        exit(2);
    }
    watch_stdin();
}

void use_tls(void)
{
    run.tls = SSL_CTX_new(TLS_client_method());
    if (run.tls == NULL) {
        fputs("load: OpenSSL gives no context\n", stderr);
        exit(2);
    }
    signal(SIGPIPE, SIG_IGN);  /* OpenSSL writes without MSG_NOSIGNAL */
    SSL_CTX_set_mode(run.tls, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_options(run.tls, SSL_OP_IGNORE_UNEXPECTED_EOF);
}

/* What recv and send would have said. */
static ssize_t tls_result(SSL *tls, int result)
{
    if (result > 0)
        return result;
    switch (SSL_get_error(tls, result)) {
    case SSL_ERROR_ZERO_RETURN: return 0;
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE: errno = EAGAIN; return -1;
    case SSL_ERROR_SYSCALL: return errno == 0 ? 0 : -1;
    default: errno = EPROTO; return -1;
    }
}

static ssize_t receive(struct link *link)
{
    if (link->tls == NULL)
        return recv(link->fd, buffer, BUFFER_SIZE, 0);
    ERR_clear_error();
    return tls_result(link->tls, SSL_read(link->tls, buffer, BUFFER_SIZE));
}

/* With TLS the first call does the handshake as well, as far as it gets. */
static ssize_t transmit(struct link *link, const uint8_t *data, size_t size)
{
    if (link->tls == NULL)
        return send(link->fd, data, size, MSG_NOSIGNAL);
    ERR_clear_error();
    return tls_result(link->tls, SSL_write(link->tls, data, size > INT_MAX ? INT_MAX : (int)size));
}

/* The server's end keeps TIME_WAIT for a minute; many source addresses keep the 4-tuples apart. */
static int bound_socket(uint32_t number)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    int on = 1;
    struct sockaddr_in source = {.sin_family = AF_INET};
    source.sin_addr.s_addr = htonl(INADDR_LOOPBACK + 1 + number % SOURCE_ADDRESSES);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
    if (bind(fd, (struct sockaddr *)&source, sizeof source) < 0) {
        close(fd);
        return -1;
    }
    return fd;
}

static void reset(struct link *link, int fd)
{
    link->fd = fd;
    link->state = LINK_CONNECTING;
    link->verify = true;
    link->pong_due = link->closing = false;
    link->control_size = 0;
    link->out_left = 0;
    link->owed = 0;
    link->received = link->sent = 0;
    memset(&link->reader, 0, sizeof link->reader);
}

void link_connect(struct link *link, int path)
{
    static uint32_t number;
    reset(link, bound_socket(number++));
    link->started_at = clock_ns();
    struct sockaddr_in target = {.sin_family = AF_INET, .sin_port = htons((uint16_t)run.port)};
    target.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = link};
    bool begun = link->fd >= 0
                 && (connect(link->fd, (struct sockaddr *)&target, sizeof target) == 0
                     || errno == EINPROGRESS)
                 && epoll_ctl(run.epoll_fd, EPOLL_CTL_ADD, link->fd, &event) == 0;
    if (!begun) {
        report_error("connection %u cannot begin: %s", link->index, strerror(errno));
        link_close(link);
        return;
    }
    if (run.tls != NULL) {
        link->tls = SSL_new(run.tls);
        SSL_set_connect_state(link->tls);
        SSL_set_fd(link->tls, link->fd);
    }
    link->out = (const uint8_t *)run.requests[path];
    link->out_left = run.request_sizes[path];
    link->reader.deflate = run.deflate && path == 0;
    link->verify = !link->reader.deflate;
}

void link_close(struct link *link)
{
    SSL_free(link->tls);
    link->tls = NULL;
    if (link->fd >= 0)
        close(link->fd);
    link->fd = -1;
    link->state = LINK_CLOSED;
}

/* The connection went away in a way the protocol does not provide for. */
static void broken(struct link *link, const char *why)
{
    if (link->state == LINK_CLOSED)
        return;
    report_error("connection %u, after %llu messages: %s", link->index,
                 (unsigned long long)link->received, why);
    link_close(link);
    if (run.mode->ended)
        run.mode->ended(link);
}

static void send_pong(struct link *link)
{
    static uint8_t frame[MAX_CONTROL + MAX_CLIENT_HEAD];
    size_t size = client_frame(frame, OP_PONG, link->control, link->control_size);
    link->pong_due = false;
    if (transmit(link, frame, size) != (ssize_t)size)
        report_error("connection %u: a Pong did not fit", link->index);
}

static void flush(struct link *link)
{
    while (link->out_left > 0) {
        ssize_t sent = transmit(link, link->out, link->out_left);
        if (sent <= 0) {
            if (errno != EAGAIN && errno != EINTR)
                broken(link, strerror(errno));
            return;
        }
        link->out += sent;
        link->out_left -= (size_t)sent;
    }
    if (link->pong_due)
        send_pong(link);
}

void link_write(struct link *link, const uint8_t *data, size_t size)
{
    link->out = data;
    link->out_left = size;
    flush(link);
}

static void control_complete(struct link *link)
{
    if (link->reader.opcode == OP_PING) {
        link->pong_due = true;
        if (link->out_left == 0)
            send_pong(link);
    } else if (link->reader.opcode == OP_CLOSE) {
        int code = link->control_size >= 2 ? link->control[0] << 8 | link->control[1] : 1005;
        link->closing = true;
        if (code != 1000)
            report_error("connection %u: the server closed with %d", link->index, code);
    }
}

static void payload_complete(struct link *link)
{
    struct frame_reader *reader = &link->reader;
    reader->in_payload = false;
    if (reader->opcode >= OP_CLOSE) {
        control_complete(link);
    } else if (reader->final) {
        link->received++;
        run.mode->message(link, reader->position);
        link->verify = false;
    }
}

static bool take_payload(struct link *link, const uint8_t *data, size_t size)
{
    struct frame_reader *reader = &link->reader;
    reader->left -= size;
    if (reader->opcode >= OP_CLOSE) {
        memcpy(link->control + reader->control_position, data, size);
        reader->control_position += (uint8_t)size;
        return true;
    }
    uint64_t position = reader->position;
    reader->position += size;
    if (!link->verify)
        return true;
    return reader->position <= run.expected_size && memcmp(data, run.expected + position, size) == 0;
}

/* Read frames from `data`; false when they are wrong. */
static bool consume(struct link *link, const uint8_t *data, size_t size)
{
    struct frame_reader *reader = &link->reader;
    while (size > 0 && link->state == LINK_OPEN) {
        if (!reader->in_payload) {
            long used = read_head(reader, data, size);
            if (used < 0)
                return false;
            data += used;
            size -= (size_t)used;
            if (!reader->in_payload)
                return true;
            if (reader->opcode >= OP_CLOSE)
                link->control_size = (uint8_t)reader->left;
        }
        size_t part = reader->left < size ? (size_t)reader->left : size;
        if (!take_payload(link, data, part))
            return false;
        data += part;
        size -= part;
        if (reader->left == 0)
            payload_complete(link);
    }
    return true;
}

/* The response head comes in one piece from a server on loopback; anything else is an error here. */
static bool upgraded(struct link *link, const uint8_t *data, size_t size)
{
    long head = upgrade_response((const char *)data, size, link->reader.deflate);
    if (head <= 0)
        return false;
    link->state = LINK_OPEN;
    if (run.mode->opened)
        run.mode->opened(link);
    return consume(link, data + head, size - (size_t)head);
}

static void end_of_stream(struct link *link)
{
    if (!link->closing) {
        broken(link, "the server hung up");
        return;
    }
    link_close(link);
    if (run.mode->ended)
        run.mode->ended(link);
}

static void received(struct link *link, size_t size)
{
    run.now = clock_ns();
    bool right = link->state == LINK_OPEN ? consume(link, buffer, size) : upgraded(link, buffer, size);
    if (!right)
        broken(link, link->state == LINK_OPEN ? "wrong frame or content" : "upgrade refused");
    else if (run.mode->batch && link->state == LINK_OPEN)
        run.mode->batch(link);
}

/* Edge triggered: a short read has emptied the socket, unless the peer's end is to be read as well.
 * A short read of TLS is one record. */
static void readable(struct link *link, uint32_t events)
{
    bool to_the_end = (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0;
    int fd = link->fd;
    while (link->fd == fd) {
        ssize_t size = receive(link);
        if (size == 0) {
            end_of_stream(link);
            return;
        }
        if (size < 0) {
            if (errno != EAGAIN && errno != EINTR)
                broken(link, strerror(errno));
            return;
        }
        received(link, (size_t)size);
        if ((size_t)size < BUFFER_SIZE && !to_the_end && link->tls == NULL)
            return;
    }
}

static void writable(struct link *link)
{
    if (link->state == LINK_CONNECTING)
        link->state = LINK_UPGRADING;
    if (link->out_left == 0)
        return;
    flush(link);
    if (link->state == LINK_OPEN && link->out_left == 0 && run.mode->drained)
        run.mode->drained(link);
}

static void handle_event(const struct epoll_event *event)
{
    struct link *link = event->data.ptr;
    if (link == NULL) {
        char line[64];
        line_arrived = true;
        if (read(STDIN_FILENO, line, sizeof line) <= 0) {
            epoll_ctl(run.epoll_fd, EPOLL_CTL_DEL, STDIN_FILENO, NULL);
            stdin_watched = false;
        }
        return;
    }
    if (link->state == LINK_CLOSED)
        return;
    if (event->events & EPOLLOUT)
        writable(link);
    if (link->state != LINK_CLOSED && event->events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR))
        readable(link, event->events);
    if (link->tls != NULL && link->state == LINK_UPGRADING && link->out_left > 0)
        flush(link);  /* the handshake may be complete now */
}

void pump(void)
{
    static struct epoll_event events[EVENTS];
    int count = epoll_wait(run.epoll_fd, events, EVENTS, run.spin ? 0 : 1000);
    run.now = clock_ns();
    if (count > 0 || last_event == 0)
        last_event = run.now;
    for (int i = 0; i < count; i++)
        handle_event(&events[i]);
    if (run.now - last_event > SILENCE_SECONDS * 1000000000ull) {
        printf("{\"event\": \"stalled\", \"error\": \"nothing arrived for %d s%s%s\"}\n",
               SILENCE_SECONDS, run.errors ? "; before that: " : "", run.first_error);
        exit(3);
    }
}

void wait_for_line(void)
{
    fflush(stdout);
    bool spin = run.spin;
    run.spin = false;
    line_arrived = !stdin_watched;
    while (!line_arrived) {
        static struct epoll_event events[EVENTS];
        int count = epoll_wait(run.epoll_fd, events, EVENTS, -1);
        for (int i = 0; i < count; i++)
            handle_event(&events[i]);
    }
    run.spin = spin;
    last_event = run.now = clock_ns();
}
