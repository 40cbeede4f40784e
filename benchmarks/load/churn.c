/* Connections that live for one message: connect, upgrade, echo, close handshake, EOF. */
#include "modes.h"

static struct link *links;
static uint8_t *message_frame, close_frame[MAX_CLIENT_HEAD + 2];
static size_t message_size, close_size;
static uint64_t begun, done, limit;
static uint32_t open_now;
static bool stopping;

static void begin(struct link *link)
{
    begun++;
    open_now++;
    link_connect(link, 0);
}

static void on_opened(struct link *link)
{
    link_write(link, message_frame, message_size);
}

static void on_message(struct link *link, uint64_t size)
{
    if (size != options.size)
        report_error("connection %u: %llu bytes came back", link->index, (unsigned long long)size);
    link_write(link, close_frame, close_size);
}

static void on_ended(struct link *link)
{
    open_now--;
    done++;
    latency_add(run.now - link->started_at);
    if (!stopping && begun < limit)
        begin(link);
}

static void prepare(void)
{
    static const uint8_t normal[2] = {1000 >> 8, 1000 & 0xff};
    uint8_t *payload = new_payload();
    message_frame = allocate(options.size + MAX_CLIENT_HEAD, 1);
    message_size = client_frame(message_frame, options.text ? OP_TEXT : OP_BINARY, payload, options.size);
    close_size = client_frame(close_frame, OP_CLOSE, normal, sizeof normal);
    links = new_links(options.parallel, 0);
}

static uint64_t perform(double seconds, uint64_t count)
{
    uint64_t end = end_after(seconds);
    begun = done = 0;
    limit = count;
    stopping = false;
    for (uint32_t i = 0; i < options.parallel && begun < limit; i++)
        begin(&links[i]);
    while (open_now > 0 && run.errors == 0) {
        pump();
        stopping = run.now >= end;
    }
    return done;
}

const struct mode churn_mode = {
    .name = "churn", .opened = on_opened, .message = on_message, .ended = on_ended};
const struct work churn_work = {&churn_mode, prepare, perform};
