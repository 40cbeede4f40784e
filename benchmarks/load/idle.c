/* Many connections that echo one message and then stay open and silent until the process is told. */
#include "modes.h"

static struct link *links;
static uint8_t *frame;
static size_t frame_size;

static void on_opened(struct link *link)
{
    link_write(link, frame, frame_size);
}

static void on_message(struct link *link, uint64_t size)
{
    latency_add(run.now - link->started_at);
    if (size != options.size)
        report_error("connection %u: %llu bytes came back", link->index, (unsigned long long)size);
}

static void prepare(void)
{
    uint8_t *payload = new_payload();
    frame = allocate(options.size + MAX_CLIENT_HEAD, 1);
    frame_size = client_frame(frame, options.text ? OP_TEXT : OP_BINARY, payload, options.size);
    links = new_links(options.connections, 0);
}

static bool has_echoed(const struct link *link)
{
    return link->received > 0;
}

static uint64_t perform(double seconds, uint64_t count)
{
    (void)seconds;
    (void)count;
    connect_all(links, options.connections, 0, has_echoed);
    return options.connections;
}

const struct mode idle_mode = {.name = "idle", .opened = on_opened, .message = on_message};
const struct work idle_work = {&idle_mode, prepare, perform};
